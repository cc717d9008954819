"""The default seccomp filters, compiled once and kept: it takes a millisecond each time.

A file is named by what the filter depends on, this program's own sources included, and read only
if it belongs to the caller: it lies in the state directory, which is nobody else's.
"""

import os

from builder import kernel

_DIRECTORY = "seccomp"
_SOURCES = ("seccomp.py", "bpf.py", "syscalls.tbl")
_MAX_BYTES = 1 << 20


def default_profile(root: str, capabilities: int, *, fake_ownership: bool) -> bytes:
    """Give the compiled default filter for these capabilities."""
    directory = os.path.join(root, _DIRECTORY)
    path = os.path.join(directory, _name(capabilities, fake_ownership=fake_ownership))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return _compiled(directory, path, capabilities, fake_ownership=fake_ownership)
    try:
        return os.read(fd, _MAX_BYTES)
    finally:
        os.close(fd)


def _compiled(directory: str, path: str, capabilities: int, *, fake_ownership: bool) -> bytes:
    from builder.kernel import seccomp

    profile = seccomp.default_profile(capabilities, fake_ownership=fake_ownership)
    temporary = f"{path}.{os.getpid()}.new"
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(profile)
        os.replace(temporary, path)
    except OSError:
        return profile  # a full or read-only disk costs time, no more
    return profile


def _name(capabilities: int, *, fake_ownership: bool) -> str:
    folder = kernel.__path__[0]
    stamps = [os.stat(os.path.join(folder, name)).st_mtime_ns for name in _SOURCES]
    return f"{capabilities:x}-{int(fake_ownership)}-{'-'.join(f'{stamp:x}' for stamp in stamps)}"
