"""`builder import`: a root file system's archive becomes an image of one layer."""  # noqa: N999 - the command is called so

import os

from builder.cli.options import Argument, Arguments, Command, multiple, value
from builder.cli.session import Session
from builder.errors import KernelError, NotFound, UsageError

COMMAND = Command(
    name="import",
    summary="Make an image from the archive of a root file system.",
    arguments=(Argument("FILE|-"), Argument("NAME[:TAG]", minimum=0)),
    options=(
        multiple(
            "-c", "--change", "INSTRUCTION", help="apply a Dockerfile instruction: CMD, ENV …"
        ),
        value("-m", "--message", "TEXT", help="the comment of the image's history"),
        value("--platform", "OS/ARCH", help="what the image runs on (default: this machine)"),
    ),
)

_STDIN = 0


def run(arguments: Arguments, session: Session) -> int:
    """Import, and print the image's ID."""
    from builder.oci.platform import parse_platform

    path, *names = arguments.words
    if path.startswith(("http://", "https://")):
        raise UsageError("import takes a file, not a URL", fix="download it first, or use ADD")
    if path == "-" and os.isatty(_STDIN):
        raise UsageError("an archive is wanted, but standard input is a terminal")
    wanted = arguments.value("platform")
    source = _STDIN if path == "-" else _opened(path)
    try:
        with session.engine() as engine:
            image = engine.import_image(
                source,
                reference=names[0] if names else None,
                message=arguments.value("message") or "",
                changes=arguments.values("change"),
                platform=None if wanted is None else parse_platform(wanted),
            )
    finally:
        if source != _STDIN:
            os.close(source)
    session.print(image.image_id)
    return 0


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", fix="check the path") from None
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None
