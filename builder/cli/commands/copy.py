"""`builder copy`: images and artefacts from one place to another, digests unchanged."""

from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.registry_options import ACCESS_OPTIONS, access, platform
from builder.cli.session import Session

COMMAND = Command(
    name="copy",
    summary="Copy an image or artefact between registries, archives, directories and the store.",
    description=(
        "Places: docker://NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME],"
        " dir:DIR; a bare NAME is an image of the store."
    ),
    arguments=(Argument("SOURCE"), Argument("DESTINATION")),
    options=(
        flag("-a", "--all", help="copy all platforms, and the index itself"),
        value("--platform", "OS/ARCH", help="of several platforms, the one to copy"),
        flag("-q", "--quiet", help="print the digest only"),
        *ACCESS_OPTIONS,
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Copy, and print the digest."""
    from builder.engine.copies import copy_request

    source, destination = arguments.words
    request = copy_request(source, destination, platform(arguments), is_whole=arguments.flag("all"))
    is_quiet = arguments.flag("quiet")
    with session.progress(is_quiet=is_quiet) as sink, session.engine(sink) as engine:
        digest = engine.copy_image(request, access(arguments))
    if request.destination.location != "-":
        session.print(digest)
    return 0
