"""`builder load`: images from an archive or a layout directory into the store."""

import os

from builder.cli.options import Arguments, Command, flag, multiple, value
from builder.cli.session import Session
from builder.errors import UsageError

COMMAND = Command(
    name="load",
    summary="Load images from an OCI or docker archive.",
    description="The archive may be compressed with gzip, bzip2, xz or zstd.",
    options=(
        value("-i", "--input", "PATH", help="an archive or OCI layout (default: standard input)"),
        value("--platform", "OS/ARCH", help="of several platforms, the one that a name stands for"),
        flag("-q", "--quiet", help="print only the names"),
        multiple("-t", "--tag", "NAME", help="give the image this name too"),
    ),
)

_STDIN = 0


def run(arguments: Arguments, session: Session) -> int:
    """Load, then say under which names."""
    from builder.oci.platform import parse_platform

    path = arguments.value("input")
    if path in {None, "-"} and os.isatty(_STDIN):
        raise UsageError("an archive is wanted, but standard input is a terminal", fix="add -i")
    wanted = arguments.value("platform")
    with session.engine() as engine:
        loaded = engine.load(
            _STDIN if path is None or path == "-" else path,
            tags=arguments.values("tag"),
            platform=None if wanted is None else parse_platform(wanted),
        )
    for image in loaded:
        for name in image.names:
            session.print(f"Loaded image: {name.familiar}")
        if not image.names:
            session.print(f"Loaded image ID: {image.image_id}")
    return 0
