"""Trees of files as values: made in a directory, read back from one, drawn at random."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

MTIME_NS = 1_600_000_000 * 10**9


class File(NamedTuple):
    """A file of a test's tree; `content` is a symbolic link's target too."""

    kind: str = "file"
    content: bytes = b""
    mode: int = 0o755
    uid: int = os.geteuid()
    gid: int = os.getegid()
    mtime_ns: int = MTIME_NS
    xattrs: tuple[tuple[str, bytes], ...] = ()


Tree = Mapping[str, File]


def make(root: Path, tree: Tree) -> None:
    """Make a tree; directories must be named before what is in them, and get their times last."""
    for path, file in tree.items():
        place = root / path
        if file.kind == "dir":
            place.mkdir(exist_ok=True)
        elif file.kind == "link":
            os.symlink(file.content, os.fsencode(place))
        elif file.kind == "fifo":
            os.mkfifo(place)
        else:
            place.write_bytes(file.content)
        if os.geteuid() == 0:
            os.chown(place, file.uid, file.gid, follow_symlinks=False)
        if file.kind != "link":
            place.chmod(file.mode)
        for name, value in file.xattrs:
            os.setxattr(place, name, value)
    for path, file in reversed(list(tree.items())):
        os.utime(root / path, ns=(file.mtime_ns, file.mtime_ns), follow_symlinks=False)


def read(root: Path) -> dict[str, File]:
    """Read a tree back, names sorted."""
    found = {}
    for directory, directories, names in os.walk(root):
        for name in directories + names:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, root)] = read_file(path)
    return dict(sorted(found.items()))


def read_file(path: str) -> File:
    status = os.lstat(path)
    kinds = {stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFREG: "file", stat.S_IFIFO: "fifo"}
    kind = kinds.get(stat.S_IFMT(status.st_mode), "other")
    content = b""
    if kind == "file":
        content = Path(path).read_bytes()
    elif kind == "link":
        content = os.readlink(os.fsencode(path))
    names = os.listxattr(path, follow_symlinks=False)
    return File(
        kind,
        content,
        0o777 if kind == "link" else stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in sorted(names)),
    )


owners = st.integers(0, 70_000) if os.geteuid() == 0 else st.just(os.geteuid())
times = st.integers(0, 2**33).map(lambda seconds: seconds * 10**9)
plain_names = st.sampled_from(["a", "b", "a-b", "c.txt", "ä", "x" * 120, "\udce4"])


@st.composite
def trees(draw: st.DrawFn) -> dict[str, File]:
    """Draw a tree of up to a dozen files with all that a layer can hold."""
    tree: dict[str, File] = {}
    directories = [""]
    for _ in range(draw(st.integers(0, 12))):
        parent = draw(st.sampled_from(directories))
        path = f"{parent}/{draw(plain_names)}".lstrip("/")
        if path in tree:
            continue
        kind = draw(st.sampled_from(["dir", "file", "file", "link", "fifo"]))
        tree[path] = draw(files(kind))
        if kind == "dir":
            directories.append(path)
    return tree


@st.composite
def files(draw: st.DrawFn, kind: str) -> File:
    contents = {
        "file": st.binary(max_size=600),
        "link": st.sampled_from([b"/etc/passwd", b"../../x", b"a", b"y" * 200]),
    }
    xattrs = st.sampled_from([(), (), (("user.note", b"\0binary\xff"),)])
    return File(
        kind,
        draw(contents.get(kind, st.just(b""))),
        0o777 if kind == "link" else draw(st.sampled_from([0o644, 0o755, 0o700, 0o1777, 0o6755])),
        draw(owners),
        draw(owners),
        draw(times),
        draw(xattrs) if kind in {"file", "dir"} else (),
    )
