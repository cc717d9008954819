"""`builder export`: all files of a container as a tar archive."""

import os

from builder.cli.options import Argument, Arguments, Command, value
from builder.cli.session import Session
from builder.errors import KernelError

COMMAND = Command(
    name="export",
    summary="Write all files of a container as a tar archive.",
    options=(value("-o", "--output", "FILE", help="write to FILE, not to standard output"),),
    arguments=(Argument("CONTAINER"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Write it; a failure leaves no file."""
    from builder.engine.container_images import check_terminal, export

    path = arguments.value("output")
    with session.engine() as engine:
        record = engine.containers.record(arguments.words[0])
        if not path:
            check_terminal(session.stdout, "an archive")
            export(engine.containers.place, record, session.stdout)
            return 0
        temporary = f"{path}.{os.getpid()}.part"
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise KernelError("open", error.errno or 0, path) from None
        try:
            export(engine.containers.place, record, fd)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        finally:
            os.close(fd)
    return 0
