"""`builder save`: images of the store to an archive."""

import errno
from typing import cast

from builder.cli.options import Argument, Arguments, Command, value
from builder.cli.session import ReaderGone, Session
from builder.errors import KernelError, UsageError

FORMATS = ("docker-archive", "oci-archive", "docker-dir", "oci-dir")

COMMAND = Command(
    name="save",
    summary="Save images to an archive that docker, podman and skopeo read.",
    arguments=(Argument("IMAGE", maximum=None),),
    options=(
        value(
            "--format",
            "FORMAT",
            help="docker-archive (default; also an OCI layout), oci-archive, docker-dir, oci-dir",
            choices=FORMATS,
        ),
        value("-o", "--output", "PATH", help="a file or directory (default: standard output)"),
        value("--platform", "OS/ARCH", help="of several platforms, the one to save"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Write the archive."""
    from builder.engine.transfer import ArchiveFormat
    from builder.oci.platform import parse_platform

    dest = arguments.value("output") or "-"
    if dest == "-" and session.is_stdout_tty:
        raise UsageError(
            "an archive would be written to the terminal", fix="add -o FILE, or redirect the output"
        )
    wanted = arguments.value("platform")
    with session.engine() as engine:
        try:
            engine.save(
                arguments.words,
                dest=dest,
                stdout=session.stdout,
                format=cast("ArchiveFormat", arguments.value("format") or "docker-archive"),
                platform=None if wanted is None else parse_platform(wanted),
            )
        except KernelError as error:
            if dest == "-" and error.errno == errno.EPIPE:
                raise ReaderGone from None
            raise
    return 0
