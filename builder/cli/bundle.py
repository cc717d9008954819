"""What a build loads, its own modules and others', in one file: read and run in order.

Most of what an import costs is importlib's care for one module: locks, names, four system calls.
The bundle keeps the code of all modules that a build loads in the order in which their bodies
ended. When one is imported, those that it led to, which come before it, are run first, and it finds
them loaded: which are loaded is decided by the imports alone, as ever. Code is used only while its
source has the time and size it had; all else is left to the ordinary way.

The file lies among the compiled files, has their trust, and is written when a build's answer is
out (`bundling`). Only built-in modules are used.
"""

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec  # importlib.machinery takes them from there
from _frozen_importlib_external import MAGIC_NUMBER
from _imp import source_hash
from _thread import _count as other_threads

from builder.cli.loading import Loader

FORMAT = "bundle/1"
DOUBTS = (OSError, ValueError, EOFError, TypeError, IndexError)
"""What reading a bundle raises that is missing, damaged, or of another version."""
LENGTH_BYTES = 4
SUM_BYTES = 8
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    Entry = tuple[str, str, bool, int, int, int, int, int]
    """Name, source, whether it is a package; the source's time and size; where in the list begins
    what it led to; begin and end of its code."""
else:
    ModuleType = type(sys)


def install() -> None:
    """Find modules in the bundle first from now on, if there is one for this interpreter."""
    if is_used():
        bundle = read(root())
        if bundle is not None:
            sys.meta_path.insert(0, bundle)  # type: ignore[arg-type]  # as in `loading`


def is_used() -> bool:
    """Whether this interpreter was started by the launcher, and so finds what the bundle holds."""
    flags = sys.flags
    is_plain = flags.isolated and flags.no_site and not flags.optimize and "site" not in sys.modules
    return bool(is_plain and sys.implementation.cache_tag and sys.pycache_prefix is None)


def is_missed() -> bool:
    """Whether this interpreter looked for a bundle, found none that is whole, and may write."""
    if not is_used() or sys.dont_write_bytecode or not sys.executable:
        return False
    finders: list[object] = list(sys.meta_path)
    stale = [finder.is_stale for finder in finders if isinstance(finder, Bundle)]
    if stale:
        return any(stale)
    return posix.access(path_of(root()).rpartition("/")[0], posix.W_OK)


def root() -> str:
    """Give the directory that holds the package."""
    return __file__.rpartition("/")[0].rpartition("/")[0].rpartition("/")[0]


def path_of(packages: str) -> str:
    """Name the bundle of the package in a directory."""
    return f"{packages}/builder/__pycache__/build.{sys.implementation.cache_tag}.bundle"


def identity() -> tuple[str, bytes, str, str]:
    """Tell interpreters apart that would take modules from elsewhere, or run other code."""
    return (FORMAT, MAGIC_NUMBER, sys.version, sys._stdlib_dir)  # type: ignore[attr-defined]  # noqa: SLF001 - without `os`


def packed(entries: "list[Entry]", code: bytes) -> bytes:
    """Put a bundle together."""
    index = marshal.dumps((identity(), entries, len(code)))
    return len(index).to_bytes(LENGTH_BYTES, "little") + _checksum(index) + index + code


def read(packages: str) -> "Bundle | None":
    """Read the list of the package's bundle; None if there is none for this interpreter."""
    fd = -1
    try:
        fd = _opened(path_of(packages))
        head = posix.read(fd, LENGTH_BYTES + SUM_BYTES)
        index = posix.read(fd, int.from_bytes(head[:LENGTH_BYTES], "little"))
        start = len(head) + len(index)
        if head[LENGTH_BYTES:] != _checksum(index):
            raise ValueError(packages)
        made_for, entries, length = marshal.loads(index)  # noqa: S302 - as importlib
        if made_for != identity() or posix.fstat(fd).st_size - start != length:
            raise ValueError(packages)
    except DOUBTS:
        if fd >= 0:
            posix.close(fd)
        return None
    return Bundle(packages, entries, fd, start)


def _checksum(content: bytes) -> bytes:
    """Sum bytes up as importlib does, which is there and quick."""
    return source_hash(int.from_bytes(MAGIC_NUMBER, "little"), content)


def _opened(path: str) -> int:
    """Open a file that only who may change the program, root or this user can have written."""
    owner = posix.stat(path.rpartition("/")[0]).st_uid
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    if posix.fstat(fd).st_uid not in {0, posix.getuid(), owner}:
        posix.close(fd)
        raise ValueError(path)
    return fd


class Bundle:
    """Finds modules in a bundle, and loads those that a module will ask for before it."""

    def __init__(self, packages: str, entries: "list[Entry]", fd: int, start: int) -> None:
        """Keep the list, and where code is in an open file; it is read when it is wanted."""
        self.is_stale = False
        self._packages = packages
        self._entries = entries
        self._fd = fd
        self._start = start
        self._places = {entry[0]: place for place, entry in enumerate(entries)}

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> object:
        """Find a module of the bundle; None leaves it to the next finder."""
        place = self._places.pop(name, None)  # the second time it is left to the ordinary way
        if place is None:
            return None
        entry = self._entries[place]
        spec = self._spec(entry)
        if spec is not None and other_threads() == 0:  # they would see modules half done
            for earlier in self._entries[entry[5] : place]:
                if earlier[0] in self._places and not self._load(earlier):
                    break
        return spec

    def _load(self, entry: "Entry") -> bool:
        """Load a module if it can be; whether it makes sense to go on with those behind it."""
        name = entry[0]
        modules = sys.modules
        parent, _, stem = name.rpartition(".")
        if name in modules or (parent and parent not in modules):
            return True
        del self._places[name]
        spec = self._spec(entry)
        if spec is None:
            return True
        loader: Loader = spec.loader  # type: ignore[assignment]
        module = ModuleType(name)
        names = module.__dict__
        names["__package__"], names["__spec__"], names["__loader__"] = spec.parent, spec, loader
        names["__file__"], names["__cached__"] = spec.origin, spec.cached
        if entry[2]:
            names["__path__"] = spec.submodule_search_locations
        modules[name] = module
        try:
            loader.exec_module(module)
        except BaseException as error:
            del modules[name]
            if isinstance(error, Exception):
                return False  # whoever imports it will run into it
            raise
        if parent:
            made = modules.get(name, module)  # it may have put something else there
            setattr(modules[parent], stem, made)
        return True

    def _spec(self, entry: "Entry") -> ModuleSpec | None:
        """Describe a module as importlib does; None if its source is not as it was."""
        name, path, is_package, mtime_ns, size_bytes, _first, start, end = entry
        source = path if path.startswith("/") else f"{self._packages}/{path}"
        try:
            status = posix.stat(source)
            if (status.st_mtime_ns, status.st_size) != (mtime_ns, size_bytes):
                raise ValueError(source)
            code = marshal.loads(posix.pread(self._fd, end - start, self._start + start))  # noqa: S302 - as importlib
        except DOUBTS:
            self.is_stale = True
            return None
        directory, _, file = source.rpartition("/")
        spec = ModuleSpec(name, Loader(name, source, code), origin=source, is_package=is_package)
        if is_package:
            spec.submodule_search_locations = [directory]
        spec.has_location = True
        tag = sys.implementation.cache_tag
        spec.cached = f"{directory}/__pycache__/{file.removesuffix('.py')}.{tag}.pyc"
        return spec
