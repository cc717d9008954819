"""Which file a command is, and why it could not be executed, in a shell's words and statuses."""

import os
from errno import EACCES, EISDIR, ENOENT, ENOEXEC, ENOTDIR
from stat import S_ISDIR

from builder.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, StartError
from builder.sandbox.spec import SandboxSpec

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find_command(spec: SandboxSpec) -> str:
    """Find the command as the container's user would; StartError 126 or 127."""
    name = spec.argv[0] if spec.argv else ""
    if not name:
        raise StartError("there is no command to run", fix="give a command, or CMD in the image")
    if "/" in name:
        return name  # exec itself will say what is wrong
    search = DEFAULT_PATH
    for item in spec.env:
        if item.startswith("PATH="):
            search = item[len("PATH=") :]
    found_errno = ENOENT
    for directory in search.split(":"):
        path = f"{directory or '.'}/{name}"
        try:
            is_directory = S_ISDIR(os.stat(path).st_mode)
        except OSError as error:
            if error.errno == EACCES:
                found_errno = EACCES
            continue
        if not is_directory and os.access(path, os.X_OK):
            return path
        found_errno = EISDIR if is_directory else EACCES
    raise exec_error(name, found_errno, is_searched=True)


def exec_error(name: str, errno: int, *, is_searched: bool = False) -> StartError:
    """Put into words, with the right status, why a command could not be executed."""
    if is_searched and errno == ENOENT:
        return StartError(
            f"exec: {name}: executable file not found in $PATH",
            status=EXIT_NOT_FOUND,
            fix="check the spelling, PATH in the image, or give the full path",
        )
    reasons = {
        ENOENT: "no such file or directory (or its interpreter is missing)",
        ENOEXEC: "exec format error: no binary of this platform and no script with #!",
        EISDIR: "is a directory",
    }
    reason = reasons.get(errno, os.strerror(errno).lower())
    status = EXIT_NOT_FOUND if errno in {ENOENT, ENOTDIR} else EXIT_NOT_EXECUTABLE
    return StartError(f"exec: {name}: {reason}", status=status)
