"""How long the kernel has had this file system in its hands: what it was told is lost with that.

A reboot changes the boot ID. A file system that was unmounted, by whatever force, and mounted again
has another mount ID. Mount namespaces have IDs of their own, and we live in a private one: process
1 is asked for its, else our parent. Where neither may be asked (rootless), or before Linux 6.8, the
boot ID alone has to do.
"""

import os
import struct
from typing import Self

from builder.kernel import libc
from builder.store import atomic
from builder.values import NamedTuple

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_STATX_MNT_ID_UNIQUE = 0x4000
_MASK_OFFSET, _MNT_ID_OFFSET, _STATX_BYTES = 0, 144, 256
_AT_FDCWD = -100
_MAX_BYTES = 100


class Session(NamedTuple):
    """The time since a file system was last mounted; `mount_id` is 0 where it is not known."""

    boot_id: str
    mount_id: int

    @classmethod
    def of(cls, root: str) -> Self:
        """Name the present session of the file system of a directory."""
        boot_id = (atomic.read(_BOOT_ID, _MAX_BYTES) or b"").decode("ascii").strip()
        for pid in (1, os.getppid()):
            mount_id = _mount_id(f"/proc/{pid}/root{root}")
            if mount_id:
                return cls(boot_id, mount_id)
        return cls(boot_id, 0)

    @classmethod
    def read(cls, path: str) -> Self | None:
        """Read which session was written down; None if none was."""
        words = (atomic.read(path, _MAX_BYTES) or b"").decode("ascii", "replace").split()
        if len(words) != 2 or not words[1].isdecimal():  # noqa: PLR2004
            return None
        return cls(words[0], int(words[1]))

    def write(self, path: str) -> None:
        """Write the session down, durably."""
        atomic.write(path, f"{self.boot_id} {self.mount_id}\n".encode())

    def may_be(self, other: "Session | None") -> bool:
        """Whether two sessions are one, as far as is known of them."""
        if other is None or other.boot_id != self.boot_id:
            return False
        return other.mount_id == self.mount_id or not (other.mount_id and self.mount_id)


def _mount_id(path: str) -> int:
    """Ask for the mount ID that is never used again; 0 if there is no answer.

    Spec: statx(2), STATX_MNT_ID_UNIQUE.
    """
    answer = libc.buffer(b"", _STATX_BYTES)
    try:
        statx = libc.Function(libc.address("statx"))
    except OSError:  # glibc before 2.28
        return 0
    if statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_MNT_ID_UNIQUE, answer) != 0:
        return 0
    mask = struct.unpack_from("I", answer, _MASK_OFFSET)[0]
    is_known = bool(mask & _STATX_MNT_ID_UNIQUE)
    return int(struct.unpack_from("Q", answer, _MNT_ID_OFFSET)[0]) if is_known else 0
