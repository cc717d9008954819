"""A place to build in: a state directory, a build context, and the program itself."""

import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, NamedTuple

STARTED = re.compile(r"^#(\d+) (\[.*)$", re.MULTILINE)
CACHED = re.compile(r"^#(\d+) CACHED$", re.MULTILINE)


def unpack(archive: tarfile.TarFile, directory: Path) -> None:
    """Extract an archive of our own; older Pythons have no filters, newer ones want one."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(directory, filter="data")
    else:
        archive.extractall(directory)


class Built(NamedTuple):
    """What a build said: its status, its output, and its progress."""

    status: int
    stdout: str
    stderr: str

    @property
    def steps(self) -> dict[str, bool]:
        """Tell of each step, by the text of its instruction, whether it came from the cache."""
        cached = set(CACHED.findall(self.stderr))
        return {
            text.partition("] ")[2]: number in cached
            for number, text in STARTED.findall(self.stderr)
            if not text.startswith("[internal]")
        }

    def is_cached(self, instruction: str) -> bool:
        """Tell whether the one step that starts so came from the cache."""
        [found] = [is_cached for text, is_cached in self.steps.items() if instruction in text]
        return found


class File(NamedTuple):
    """One entry of a root file system as an archive shows it."""

    entry: tarfile.TarInfo
    content: bytes


class Site:
    """A directory of its own with what a build needs; commands must succeed unless told."""

    def __init__(self, directory: Path, program: Callable[..., CompletedProcess[bytes]]) -> None:
        self.directory = directory
        self.context = directory / "context"
        self.state = directory / "state"
        self._program = program
        self.context.mkdir()

    def write(self, name: str, text: str = "", mode: int = 0o644) -> Path:
        """Put a file into the build context."""
        path = self.context / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def run(
        self, *words: str, status: int = 0, stdin: bytes = b"", **environ: str
    ) -> CompletedProcess[bytes]:
        """Run a command; its status must be the expected one."""
        done = self._program(*words, stdin=stdin, **environ)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr.decode())
        return done

    def text(self, *words: str, **environ: str) -> str:
        """Run a command and give what it printed, without the last newline."""
        return self.run(*words, status=0, stdin=b"", **environ).stdout.decode().rstrip("\n")

    def build(
        self, dockerfile: str, *options: str, status: int = 0, stdin: bytes = b"", **environ: str
    ) -> Built:
        """Build the context by a Dockerfile, which is kept outside of it."""
        path = self.directory / "Dockerfile"
        path.write_text(dockerfile)
        done = self.run(
            "build", "--progress=plain", "--file", str(path), *options, str(self.context),
            status=status, stdin=stdin, **environ,
        )  # fmt: skip
        return Built(done.returncode, done.stdout.decode(), done.stderr.decode())

    def tree(self, dockerfile: str, *options: str, **environ: str) -> dict[str, File]:
        """Build a root file system and give its entries by name."""
        path = self.directory / "tree.tar"
        self.build(
            dockerfile, "--output", f"type=tar,dest={path}", *options,
            status=0, stdin=b"", **environ,
        )  # fmt: skip
        return entries(path)

    def config(self, dockerfile: str, *options: str) -> dict[str, Any]:
        """Build an image and give its run configuration."""
        self.build(dockerfile, "--tag", "app", *options)
        image: dict[str, Any] = self.inspect("app")["Config"]
        return image

    def inspect(self, name: str) -> dict[str, Any]:
        """Give all that is known of an image."""
        [found] = json.loads(self.text("image", "inspect", name))
        assert isinstance(found, dict)
        return found

    def container(
        self, *words: str, status: int = 0, stdin: bytes = b""
    ) -> CompletedProcess[bytes]:
        """Run a container without a network, and remove it."""
        return self.run("run", "--rm", "--network=none", *words, status=status, stdin=stdin)


def entries(path: Path) -> dict[str, File]:
    """Read an archive's entries by name."""
    found = {}
    with tarfile.open(path) as archive:
        for entry in archive:
            opened = archive.extractfile(entry) if entry.isreg() else None
            found[entry.name.removeprefix("./").rstrip("/")] = File(
                entry, opened.read() if opened else b""
            )
    return found
