"""Terminals: a container's pty, its size, the caller's raw mode, and the keys that detach."""

import fcntl
import os
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENODEV

from builder.errors import KernelError, UsageError
from builder.kernel import syscalls

_DEVPTS_SUPER_MAGIC = 0x1CD1
_TIOCGPTN = 0x80045430
_TIOCSPTLCK = 0x40045431
DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"


def open_terminal(dev_fd: int) -> tuple[int, int, str]:
    """Open a new terminal of the devpts below a /dev: master, slave, and its name in pts/.

    Nothing of a running container's /dev is trusted: only a real devpts is opened.
    Raises KernelError.
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
    directory = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        pts_fd = os.open("pts", directory, dir_fd=dev_fd)
        if syscalls.filesystem_type(pts_fd) != _DEVPTS_SUPER_MAGIC:
            raise KernelError("open", ENODEV, "/dev/pts")
        master_fd = os.open("ptmx", flags, dir_fd=pts_fd)
        fcntl.ioctl(master_fd, _TIOCSPTLCK, struct.pack("i", 0))
        number: int = struct.unpack("i", fcntl.ioctl(master_fd, _TIOCGPTN, struct.pack("i", 0)))[0]
        slave_fd = os.open(str(number), flags, dir_fd=pts_fd)
    except OSError as error:
        raise KernelError("open", error.errno or 0, "/dev/pts/ptmx") from None
    os.close(pts_fd)
    return master_fd, slave_fd, str(number)


def take_control(fd: int) -> None:
    """Make a terminal the controlling one of the caller, who must lead a session without."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


def set_size(fd: int, rows: int, columns: int) -> None:
    """Tell a terminal its size; its foreground processes get SIGWINCH if it changed."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))


def size(fd: int) -> tuple[int, int]:
    """Ask a terminal for its rows and columns; (0, 0) if it is none."""
    try:
        answer = fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8))
    except OSError:
        return 0, 0
    rows, columns, _, _ = struct.unpack("4H", answer)
    return rows, columns


@contextmanager
def raw_mode(fd: int) -> Iterator[None]:
    """Pass every key on unchanged while in the context; restore the settings afterwards."""
    before = termios.tcgetattr(fd)
    settings = termios.tcgetattr(fd)
    settings[0] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
        | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
    )  # fmt: skip
    settings[1] &= ~termios.OPOST
    settings[2] = settings[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    settings[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    termios.tcsetattr(fd, termios.TCSANOW, settings)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


def detach_keys(text: str) -> bytes:
    """Read a sequence such as `ctrl-p,ctrl-q` or `a,ctrl-x`; empty text means none.

    Raises UsageError.
    """
    keys = bytearray()
    for word in text.split(",") if text else ():
        if len(word) == 1 and word.isascii() and word.isprintable():
            keys.append(ord(word))
        elif word.startswith("ctrl-") and len(word) == len("ctrl-x"):
            keys.append(_control(word[-1], text))
        else:
            raise UsageError(
                f"{text} is no sequence of detach keys",
                fix=f"write letters, or ctrl- and one of a-z@[\\]^_, as in {DEFAULT_DETACH_KEYS}",
            )
    return bytes(keys)


def _control(letter: str, text: str) -> int:
    if "a" <= letter <= "z":
        return ord(letter) - ord("a") + 1
    if letter in "@[\\]^_":
        return ord(letter) - ord("@")
    raise UsageError(f"{text} is no sequence of detach keys", fix="use ctrl- and one of a-z@[\\]^_")


class DetachScanner:
    """Looks for the detach keys in what is typed, and holds back what may be their beginning."""

    def __init__(self, keys: bytes) -> None:
        """Look for these keys; none are found if it is empty."""
        self._keys = keys
        self._matched = 0
        self.is_detached = False

    def feed(self, typed: bytes) -> bytes:
        """Take input and return what to pass on; once detached, nothing passes any more."""
        passed = bytearray()
        for byte in typed:
            if self.is_detached:
                break
            self._step(byte, passed)
        return bytes(passed)

    def _step(self, byte: int, passed: bytearray) -> None:
        keys = self._keys
        while self._matched and keys[self._matched] != byte:
            shorter = self._longest_border(keys[: self._matched])
            passed += keys[: self._matched - shorter]
            self._matched = shorter
        if keys and keys[self._matched] == byte:
            self._matched += 1
            self.is_detached = self._matched == len(keys)
        else:
            passed.append(byte)

    @staticmethod
    def _longest_border(matched: bytes) -> int:
        """Count the bytes at the end of what matched that are themselves a beginning."""
        for length in range(len(matched) - 1, 0, -1):
            if matched[-length:] == matched[:length]:
                return length
        return 0
