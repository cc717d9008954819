"""Random Dockerfiles with their contexts, and random edits of them.

All comes from one `random.Random`, so that a number is enough to make a build again.
"""

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

from tests.end_to_end import random_instructions
from tests.end_to_end.random_instructions import Place

Kind = Literal["file", "directory", "symlink", "hardlink"]
MAX_LINES = 12
IGNORED = (
    "", "*.txt\n", "d/e\n", "**\n!d\n", "d/**/*.sh\n!d/e/f.sh\n", "# nothing\n\n",
    "a?txt\n!a.txt\n", "**/g\n.hidden\n", "d\n!d/e/g\n", "/d/./c.txt\nlink*\n", "[ab].txt\n",
    "e mpty\nempty/\n",
)  # fmt: skip
CONTENTS = (b"", b"one\n", b"two\n", b"three\n" * 30_000, b"#!/bin/sh\necho ran\n")
MODES = (0o644, 0o755, 0o600, 0o777, 0o4755, 0o2640)


class Entry(NamedTuple):
    """One path of the context: a file's content and mode, or what a link points to."""

    kind: Kind
    content: bytes = b""
    mode: int = 0o644
    target: str = ""


class Project(NamedTuple):
    """What a build is made from."""

    files: dict[str, Entry]
    lines: tuple[str, ...]
    ignored: str
    is_new: bool
    """Whether instructions and options are used that older builders do not know."""
    escape: str = "\\"
    mark: str = ""
    newline: str = "\n"

    @property
    def dockerfile(self) -> str:
        return self.mark + "\n".join((*self.lines, "")).replace("\n", self.newline)


class Edit(NamedTuple):
    """A changed project, what was changed, and whether every step has to come from the cache."""

    project: Project
    name: str
    is_free: bool = False


def archive(random: Random, compression: str = "") -> bytes:
    """Make a tar archive of a few odd entries."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=f"w:{compression}") as writer:  # type: ignore[call-overload]  # "", "gz", "xz"
        for name, kind, target in (
            ("in", tarfile.DIRTYPE, ""), ("in/file", tarfile.REGTYPE, ""),
            ("in/link", tarfile.SYMTYPE, "file"), ("in/same", tarfile.LNKTYPE, "in/file"),
            ("./deep/er/file", tarfile.REGTYPE, ""), ("pipe", tarfile.FIFOTYPE, ""),
        ):  # fmt: skip
            if random.random() < 0.25 and name in ("pipe", "in/link"):
                continue
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            entry.mode = random.choice((0o755, 0o750)) if kind == tarfile.DIRTYPE else 0o640
            entry.uid, entry.gid = random.choice(((0, 0), (7, 8)))
            entry.mtime = random.choice((0, 1_000_000_000))
            content = random.choice(CONTENTS[:3]) if kind == tarfile.REGTYPE else b""
            entry.size = len(content)
            writer.addfile(entry, io.BytesIO(content))
    return held.getvalue()


def random_files(random: Random) -> dict[str, Entry]:
    """Fill a context; not every path is there every time."""
    files = {}
    for name in (
        "a.txt",
        "b.txt",
        "d/c.txt",
        "d/e/f.sh",
        "d/e/g",
        ".hidden",
        "d/.h2",
        "sp ace.txt",
    ):
        files[name] = Entry("file", random.choice(CONTENTS), random.choice(MODES[:3]))
    optional = {
        "empty": Entry("directory", mode=0o750),
        "d/modes": Entry("file", b"m", random.choice(MODES)),
        "link": Entry("symlink", target="a.txt"),
        "dirlink": Entry("symlink", target="d"),
        "d/up": Entry("symlink", target="../b.txt"),
        "dangling": Entry("symlink", target="nowhere"),
        "hard": Entry("hardlink", target="a.txt"),
        "d/hard": Entry("hardlink", target="d/c.txt"),
        "x[1].txt": Entry("file", b"bracket\n"),
        "é.txt": Entry("file", b"accent\n"),
    }
    files |= {name: entry for name, entry in optional.items() if random.random() < 0.8}
    files["t.tar"] = Entry("file", archive(random))
    files["t.tgz"] = Entry("file", archive(random, "gz"))
    files["no.tar"] = Entry("file", b"this is no archive")
    return files


def random_project(random: Random, *, is_new: bool = True) -> Project:
    """Make a project of one to four stages."""
    escape = "`" if random.random() < 0.1 else "\\"
    lines = [f"# escape={escape}"] if escape == "`" or random.random() < 0.2 else []
    lines += [random_instructions.header(random)] if random.random() < 0.3 else []
    lines += random_instructions.global_arguments(random)
    for number in range(random.choice((1, 1, 2, 2, 3, 4))):
        lines.append(random_instructions.from_line(random, number))
        for _ in range(random.randint(1, MAX_LINES - 2 * number)):
            lines.append(random_instructions.instruction(random, Place(number, is_new, escape)))
    files, ignored = random_files(random), _ignored(random)
    mark = "\ufeff" if random.random() < 0.05 else ""
    newline = "\r\n" if random.random() < 0.05 else "\n"
    return Project(files, tuple(lines), ignored, is_new, escape, mark, newline)


def _ignored(random: Random) -> str:
    return random.choice(IGNORED) if random.random() < 0.4 else ""


def edited(random: Random, project: Project) -> Edit:
    """Change one thing."""
    edit = random.choice((*EDITS, _with_line, _with_line, _without_line, _with_content))
    return edit(random, project)


def stage_of(lines: tuple[str, ...], at: int) -> int:
    """Give the number of the stage that a line belongs to; -1 above the first."""
    return sum(line.lower().lstrip().startswith("from ") for line in lines[:at]) - 1


def _replaced(project: Project, name: str, entry: Entry) -> Project:
    return project._replace(files={**project.files, name: entry})


def _with_content(random: Random, project: Project) -> Edit:
    name = random.choice([n for n, entry in project.files.items() if entry.kind == "file"])
    entry = project.files[name]._replace(content=random.choice(CONTENTS))
    return Edit(_replaced(project, name, entry), f"content of {name}")


def _with_mode(random: Random, project: Project) -> Edit:
    name = random.choice([n for n, entry in project.files.items() if entry.kind == "file"])
    entry = project.files[name]._replace(mode=random.choice(MODES))
    return Edit(_replaced(project, name, entry), f"mode of {name}")


def _renamed(random: Random, project: Project) -> Edit:
    targets = {entry.target for entry in project.files.values() if entry.kind == "hardlink"}
    name = random.choice([n for n in project.files if n not in targets])
    files = dict(project.files)
    files[f"{name}.new"] = files.pop(name)
    return Edit(project._replace(files=files), f"rename {name}")


def _removed(random: Random, project: Project) -> Edit:
    targets = {entry.target for entry in project.files.values() if entry.kind == "hardlink"}
    name = random.choice([n for n in project.files if n not in targets])
    files = {n: entry for n, entry in project.files.items() if n != name}
    return Edit(project._replace(files=files), f"remove {name}")


def _added(random: Random, project: Project) -> Edit:
    name = random.choice(("z.txt", "d/z", "d/n/w", ".z"))
    return Edit(_replaced(project, name, Entry("file", random.choice(CONTENTS))), f"add {name}")


def _as_link(random: Random, project: Project) -> Edit:
    """Put a link where a file was, or another where one is."""
    name = random.choice(("link", "d/up", "b.txt", "d/e/g"))
    target = random.choice(("a.txt", "d/c.txt", "../a.txt", "/etc/passwd", "d"))
    if name in {entry.target for entry in project.files.values() if entry.kind == "hardlink"}:
        return _with_content(random, project)
    return Edit(_replaced(project, name, Entry("symlink", target=target)), f"{name} -> {target}")


def _with_hardlink(random: Random, project: Project) -> Edit:
    """Make two names one file, or a file of its own again."""
    name = random.choice(("hard", "d/hard"))
    if name in project.files and random.random() < 0.5:
        return Edit(_replaced(project, name, Entry("file", b"own\n")), f"part {name}")
    if "a.txt" not in project.files:
        return _added(random, project)
    return Edit(_replaced(project, name, Entry("hardlink", target="a.txt")), f"join {name}")


def _with_line(random: Random, project: Project) -> Edit:
    at = random.randint(1, len(project.lines))
    stage = stage_of(project.lines, at)
    if stage < 0:
        return _with_content(random, project)
    line = random_instructions.instruction(random, Place(stage, project.is_new, project.escape))
    lines = (*project.lines[:at], line, *project.lines[at:])
    return Edit(project._replace(lines=lines), f"insert {line!r}")


def _without_line(random: Random, project: Project) -> Edit:
    kept = [i for i, line in enumerate(project.lines) if not line.lower().startswith(("from", "#"))]
    if not kept:
        return _with_line(random, project)
    at = random.choice(kept)
    lines = (*project.lines[:at], *project.lines[at + 1 :])
    return Edit(project._replace(lines=lines), f"delete {project.lines[at]!r}")


def _swapped(random: Random, project: Project) -> Edit:
    at = random.randrange(len(project.lines))
    one, other = project.lines[at : at + 2] if at + 1 < len(project.lines) else ("from", "")
    if any(line.lower().startswith(("from", "#")) for line in (one, other)):
        return _with_line(random, project)
    lines = (*project.lines[:at], other, one, *project.lines[at + 2 :])
    return Edit(project._replace(lines=lines), f"swap {one!r}")


def _with_ignored(random: Random, project: Project) -> Edit:
    return Edit(project._replace(ignored=random.choice(IGNORED)), "ignore file")


def _touched(_random: Random, project: Project) -> Edit:
    """Change nothing but times: `put` writes new ones each time."""
    return Edit(project, "touch", is_free=True)


def _with_comment(random: Random, project: Project) -> Edit:
    """Add what means nothing: a comment, a blank line, blanks before an instruction."""
    at = random.randint(1, len(project.lines))
    note = random.choice(("# a remark", "", "  # one more", "\t"))
    lines = (*project.lines[:at], note, *project.lines[at:])
    return Edit(project._replace(lines=lines), f"note {note!r} at {at}", is_free=True)


def _indented(random: Random, project: Project) -> Edit:
    at = random.randrange(len(project.lines))
    if project.lines[at].startswith("#"):
        return _touched(random, project)
    lines = (*project.lines[:at], f"  {project.lines[at]}", *project.lines[at + 1 :])
    return Edit(project._replace(lines=lines), f"indent {at}", is_free=True)


EDITS: tuple[Callable[[Random, Project], Edit], ...] = (
    _with_content, _with_mode, _renamed, _removed, _added, _as_link, _with_hardlink, _with_line,
    _without_line, _swapped, _with_ignored, _touched, _with_comment, _indented,
)  # fmt: skip


def put(project: Project, context: Path) -> None:
    """Make the context hold exactly the project's files."""
    _clear(project, context)
    for name, entry in sorted(project.files.items(), key=lambda item: item[1].kind == "hardlink"):
        path = context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _put_entry(path, entry, context)
    (context / "d").mkdir(exist_ok=True)
    (context / ".dockerignore").write_text(project.ignored)


def _clear(project: Project, context: Path) -> None:
    """Remove what is not wanted, and whatever is a link or of another kind than it should be."""
    for path in sorted(context.rglob("*"), reverse=True):
        entry = project.files.get(str(path.relative_to(context)))
        if path.is_dir() and not path.is_symlink():
            if entry is None and not any(path.iterdir()):
                path.rmdir()
        elif entry is None or entry.kind != "file" or _is_shared(path):
            path.unlink()


def _is_shared(path: Path) -> bool:
    """Say whether a path is no file of its own: a link, or one name of several."""
    status = path.lstat()
    return not stat.S_ISREG(status.st_mode) or status.st_nlink > 1


def _put_entry(path: Path, entry: Entry, context: Path) -> None:
    match entry.kind:
        case "directory":
            path.mkdir(exist_ok=True)
        case "symlink":
            path.symlink_to(entry.target)
            return
        case "hardlink":
            os.link(context / entry.target, path, follow_symlinks=False)
            return
        case _:
            if not path.exists() or path.read_bytes() != entry.content:
                path.write_bytes(entry.content)
    path.chmod(entry.mode)
    os.utime(path)
