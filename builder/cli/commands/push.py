"""`builder push`: images of the store to their registry."""

from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.registry_options import ACCESS_OPTIONS, access, platform, untagged
from builder.cli.session import Session
from builder.errors import NotFound, UsageError
from builder.oci.transport import is_file

COMMAND = Command(
    name="push",
    summary="Send an image to its registry.",
    description=(
        "DESTINATION is another name, docker://NAME, or a place among files: oci:DIR[:TAG],"
        " oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], dir:DIR."
    ),
    arguments=(Argument("NAME[:TAG]"), Argument("DESTINATION", minimum=0)),
    options=(
        flag("-a", "--all-tags", help="push all tags of the repository"),
        value("--platform", "OS/ARCH", help="of several platforms, the one to push"),
        flag("-q", "--quiet", help="print only the name"),
        flag("--disable-content-trust", help="for docker's command lines", is_hidden=True),
        *ACCESS_OPTIONS,
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Push; the digest under which the registry keeps the image is printed."""
    is_quiet = arguments.flag("quiet")
    reach, wanted = access(arguments), platform(arguments)
    name, *destinations = arguments.words
    destination = destinations[0] if destinations else None
    if destination is not None and arguments.flag("all-tags"):
        raise UsageError("--all-tags and a destination exclude each other")
    if destination is not None and is_file(destination):
        return _write(arguments, session, name, destination)
    with session.progress(is_quiet=is_quiet) as sink, session.engine(sink) as engine:
        names = [name]
        if arguments.flag("all-tags"):
            from builder.oci.reference import parse_reference

            repository = parse_reference(untagged(name)).name
            known = [name for image in engine.store.images.list() for name in image.names]
            names = [str(name) for name in known if name.name == repository and name.tag]
            if not names:
                raise NotFound(f"no image is named {repository}", fix="tag one first")
        for name in names:
            pushed = engine.push(name, to=destination, platform=wanted, access=reach)
            if is_quiet:
                session.print(destination or name)
            else:
                name = destination or name  # noqa: PLW2901 - what it is called there
                tag = name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else "latest"
                digest, size = pushed.descriptor.digest, pushed.descriptor.size_bytes
                session.print(f"{tag}: digest: {digest} size: {size}")
    return 0


def _write(arguments: Arguments, session: Session, name: str, destination: str) -> int:
    """Write the image to files instead of a registry; print the digest."""
    from builder.engine.copies import CopyRequest
    from builder.engine.places import STORE, Place, parse_place

    source = Place(STORE, name.removeprefix("docker://"))
    request = CopyRequest(source, parse_place(destination), platform(arguments))
    is_quiet = arguments.flag("quiet")
    with session.progress(is_quiet=is_quiet) as sink, session.engine(sink) as engine:
        digest = engine.copy_image(request, access(arguments))
    session.print(destination if is_quiet else f"digest: {digest}")
    return 0
