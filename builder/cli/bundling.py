"""Write the bundle of what a build loads, when a build's answer is out and there is none.

An interpreter of its own imports what every build does that runs a step, in the order of a build,
and notes what led to what: they are the same whatever the build was that came first.
"""

import marshal
import posix
import sys
from _frozen_importlib_external import PathFinder, SourceFileLoader

from builder.cli import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

ROOTS = (
    "builder.engine.forerunner",
    "builder.dockerfile.nodes",  # the forerunner's
    "builder.cli.main",
    "builder.cli.commands.build",
    "builder.cli.build_request",
    "builder.progress.display",
    "builder.engine.compose",
    "builder.sandbox.zygote",
    "builder.store.store",
    "builder.engine.local",
    "builder.engine.build",
    "builder.executors.image",
    "builder.executors.exec_",
    "builder.networks.pool",
    "builder.store.layering",
    "builder.engine.account",
    "builder.cli.shortcut",
    "builder.engine.scout",  # the forerunner's again
    "builder.sandbox.recruit",
    "builder.sandbox.server",
)
"""What a build imports that runs a step, in its order."""
_START = """\
import sys
sys.path.append(sys.argv[1])
from builder.cli import bundling
bundling.write(sys.argv[1])
"""


def write_elsewhere() -> None:
    """Let a new interpreter write the bundle: it has loaded nothing yet."""
    words = [sys.executable, "-X", "utf8", "-IS", "-c", _START, bundle.root()]
    posix.waitpid(posix.posix_spawn(sys.executable, words, posix.environ), 0)


def write(packages: str, roots: "Sequence[str]" = ROOTS) -> None:
    """Import modules, and write what that leads to, but for what was loaded before."""
    recorder = Recorder()
    sys.meta_path.insert(len(sys.meta_path) - 1, recorder)  # behind built-in and frozen modules
    for root in roots:
        __import__(root)
    replace(bundle.path_of(packages), packed(recorder.loaded, packages))


class Loaded:
    """A module that has been loaded: its code, its source, and where what it led to begins."""

    is_package = False
    code: "CodeType"

    def __init__(self, name: str, path: str, first: int) -> None:
        """Look at the source before its code is taken."""
        status = posix.stat(path)
        self.name = name
        self.path = path
        self.mtime_ns = status.st_mtime_ns
        self.size_bytes = status.st_size
        self.first = first


class Recorder:
    """Finds modules as ever, and keeps those of Python source in the order in which they ended."""

    def __init__(self) -> None:
        """Begin with none."""
        self.loaded: list[Loaded] = []

    def find_spec(
        self, name: str, path: "Sequence[str] | None", target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """Find a module on the path."""
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader and spec.origin:
            spec.loader = Recording(name, spec.origin, self.loaded)
        return spec


class Recording(SourceFileLoader):
    """Loads a module and notes it."""

    def __init__(self, name: str, path: str, loaded: list[Loaded]) -> None:
        """Keep the list to which the module is to be added."""
        super().__init__(name, path)
        self._loaded = loaded

    def exec_module(self, module: "ModuleType") -> None:
        """Run the module; what it leads to comes before it."""
        noted = Loaded(module.__name__, self.path, len(self._loaded))
        noted.is_package = hasattr(module, "__path__")
        code = self.get_code(module.__name__)
        if code is not None:  # a source always has some
            exec(code, module.__dict__)  # noqa: S102 - this is how a module is loaded
            noted.code = code
            self._loaded.append(noted)


def packed(loaded: list[Loaded], packages: str) -> bytes:
    """Pack modules; paths below the program's packages are relative to them."""
    code = b""
    entries = []
    for one in loaded:
        start = len(code)
        code += marshal.dumps(one.code)
        path = one.path.removeprefix(f"{packages}/")
        state = one.mtime_ns, one.size_bytes
        entries.append((one.name, path, one.is_package, *state, one.first, start, len(code)))
    return bundle.packed(entries, code)


def replace(path: str, content: bytes) -> None:
    """Write a file beside, and put it in place when it is on the disk."""
    beside = f"{path}.{posix.getpid()}"
    fd = posix.open(beside, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o644)
    try:
        try:
            while content:
                content = content[posix.write(fd, content) :]
            posix.fsync(fd)
        finally:
            posix.close(fd)
        posix.replace(beside, path)
    except BaseException:
        posix.unlink(beside)
        raise
