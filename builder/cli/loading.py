"""Load the program's own modules from their compiled files, without the general search for them.

`importlib` asks every place on the path, looks for every kind of file and parses names: 0.1 ms a
module, of which a build needs two hundred. Here it is known where a module is. What is not there,
or not compiled from the source as it is, is left to importlib. Only built-in modules are used.
"""

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec  # importlib.machinery takes them from there
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader

PACKAGE = "builder"
HEADER_BYTES = 16
WORD = 0xFFFF_FFFF
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType


def install() -> None:
    """Find modules of this package here first from now on."""
    if sys.flags.optimize == 0 and sys.implementation.cache_tag and sys.pycache_prefix is None:
        root = __file__.rpartition("/")[0].rpartition("/")[0].rpartition("/")[0]
        sys.meta_path.insert(0, Finder(root))  # type: ignore[arg-type]  # the protocol is all it has


class Finder:
    """Finds compiled modules of the package below one directory."""

    def __init__(self, root: str) -> None:
        """Look below `root`, the directory that holds the package."""
        self._root = root
        self._suffix = f".{sys.implementation.cache_tag}.pyc"

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> object:
        """Find a module of the package; None leaves it to the next finder."""
        if not name.startswith(PACKAGE):
            return None
        path = f"{self._root}/{name.replace('.', '/')}"
        directory, _, stem = path.rpartition("/")
        source, compiled = f"{path}.py", f"{directory}/__pycache__/{stem}{self._suffix}"
        try:
            code = self._code(source, compiled)
            is_package = code is None
            if is_package:
                source = f"{path}/__init__.py"
                compiled = f"{path}/__pycache__/__init__{self._suffix}"
                code = self._code(source, compiled)
        except (OSError, ValueError, EOFError, TypeError):
            return None
        if code is None:
            return None
        spec = ModuleSpec(name, Loader(name, source, code), origin=source, is_package=is_package)
        if is_package:
            spec.submodule_search_locations = [path]
        spec.has_location = True
        spec.cached = compiled
        return spec

    def _code(self, source: str, compiled: str) -> "CodeType | None":
        """Load the code of a source file that has not changed since; None if it is not there."""
        try:
            status = posix.stat(source)
        except FileNotFoundError:
            return None
        fd = posix.open(compiled, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            content = posix.read(fd, posix.fstat(fd).st_size)
        finally:
            posix.close(fd)
        wanted = MAGIC_NUMBER + bytes(4)  # bytes 4 to 7 are 0 where times tell if it is current
        wanted += (int(status.st_mtime) & WORD).to_bytes(4, "little")
        wanted += (status.st_size & WORD).to_bytes(4, "little")
        if content[:HEADER_BYTES] != wanted:
            raise ValueError(compiled)
        return marshal.loads(memoryview(content)[HEADER_BYTES:])  # type: ignore[no-any-return]  # noqa: S302 - as importlib


class Loader(SourceFileLoader):
    """Runs code that has been found; in all else the ordinary loader."""

    def __init__(self, name: str, path: str, code: "CodeType") -> None:
        """Keep the code."""
        super().__init__(name, path)
        self._code: CodeType | None = code

    def create_module(self, _spec: object) -> None:
        """Let importlib make the module."""

    def exec_module(self, module: "ModuleType") -> None:
        """Run the code."""
        code, self._code = self._code, None
        if code is None:
            super().exec_module(module)
        else:
            exec(code, module.__dict__)  # noqa: S102 - this is how a module is loaded
