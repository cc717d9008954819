"""The volumes of a store: `volumes/<name>/_data` and a small file that describes it beside.

The directory's presence is the volume; the description is written before the directory gets its
name, so that nobody sees a half-made one.
"""

import os

from builder import jsonvalues
from builder.errors import Conflict, KernelError, NotFound, UsageError
from builder.kernel import trees
from builder.values import NamedTuple

MAX_NAME = 128
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME = _LETTERS | frozenset("_.-")
_DATA = "_data"


class Volume(NamedTuple):
    """A named directory."""

    name: str
    created: str
    driver: str = "local"
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    is_anonymous: bool = False


class Volumes:
    """What volumes there are."""

    def __init__(self, root: str) -> None:
        """Keep the place."""
        self._root = root
        self._path = f"{root}/volumes"

    def mount_point(self, name: str) -> str:
        """Name the directory with a volume's files."""
        return f"{self._path}/{check_name(name)}/{_DATA}"

    def known(self) -> list[Volume]:
        """List the volumes by name."""
        try:
            names = sorted(os.listdir(self._path))
        except FileNotFoundError:
            return []
        return [volume for name in names if (volume := self._read(name)) is not None]

    def get(self, name: str) -> Volume:
        """Find a volume; raise NotFound."""
        volume = self._read(name) if _is_name(name) else None
        if volume is None:
            raise NotFound(f"get {name}: no such volume", fix="see `builder volume ls`")
        return volume

    def create(self, wanted: Volume) -> Volume:
        """Make a volume, named at random if it has no name; give the existing one of that name.

        Raises Conflict if that one has another driver or other options.
        """
        if not wanted.name:
            wanted = wanted._replace(name=os.urandom(32).hex(), is_anonymous=True)
        if wanted.driver != "local":
            raise UsageError(f"there is no volume driver {wanted.driver!r}", fix="use local")
        check_name(wanted.name)
        existing = self._read(wanted.name)
        if existing is None:
            existing = self._make(wanted)
        if wanted.options and existing.options != wanted.options:
            raise Conflict(f"volume {wanted.name} exists with other options")
        return existing

    def remove(self, name: str) -> None:
        """Remove a volume and its files; the caller knows that nobody uses it.

        Raises KernelError.
        """
        self.get(name)
        trash = f"{self._root}/trash/{os.urandom(8).hex()}"
        try:
            os.rename(f"{self._path}/{name}", trash)
        except FileNotFoundError:
            return
        except OSError as error:
            raise KernelError("rename", error.errno or 0, name) from None

    def size_bytes(self, name: str) -> int:
        """Count the bytes that a volume takes on disk."""
        fd = os.open(self.mount_point(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return trees.disk_usage(fd)[0]
        finally:
            os.close(fd)

    def is_empty(self, name: str) -> bool:
        """Tell whether nothing was ever put into a volume."""
        with os.scandir(self.mount_point(name)) as entries:
            return next(entries, None) is None

    def _read(self, name: str) -> Volume | None:
        return jsonvalues.read(Volume, f"{self._path}/{name}/volume.json")

    def _make(self, volume: Volume) -> Volume:
        temporary = f"{self._path}/.{os.urandom(8).hex()}"
        os.makedirs(f"{temporary}/{_DATA}", 0o755)
        os.chmod(temporary, 0o701)
        jsonvalues.write(volume, f"{temporary}/volume.json")
        try:
            os.rename(temporary, f"{self._path}/{volume.name}")
        except OSError:  # somebody else was faster
            for path in (f"{temporary}/volume.json", f"{temporary}/{_DATA}", temporary):
                os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
            return self.get(volume.name)
        return volume


def check_name(name: str) -> str:
    """Return a valid volume name as it is; raise UsageError for any other."""
    if not _is_name(name):
        raise UsageError(
            f"{name[:200]!r} is not a valid volume name",
            fix="use 2 to 128 letters, digits and _ . - and start with a letter or digit; "
            "a host directory needs an absolute path",
        )
    return name


def _is_name(name: str) -> bool:
    return (
        2 <= len(name) <= MAX_NAME and name[0] in _LETTERS and _NAME.issuperset(name)  # noqa: PLR2004
    )
