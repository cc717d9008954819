"""`builder pull`: images from a registry into the store."""

from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.registry_options import ACCESS_OPTIONS, access, platform, untagged
from builder.cli.session import Session
from builder.errors import BuilderError, UsageError

MAX_TAGS = 10_000

COMMAND = Command(
    name="pull",
    summary="Fetch an image from a registry.",
    description=(
        "Fetch images from registries, or take them from files: oci:DIR[:TAG],"
        " oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], dir:DIR."
    ),
    arguments=(Argument("NAME[:TAG|@DIGEST]", maximum=None),),
    options=(
        flag("-a", "--all-tags", help="pull all tags of the repository"),
        flag("--all-platforms", help="pull the image for all platforms"),
        value("--platform", "OS/ARCH", help="of several platforms, the one to pull"),
        flag("-q", "--quiet", help="print only the names"),
        flag("--disable-content-trust", help="for docker's command lines", is_hidden=True),
        *ACCESS_OPTIONS,
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Pull one image after the other; the first failure of several does not end it."""
    is_quiet = arguments.flag("quiet")
    reach, wanted = access(arguments), platform(arguments)
    if wanted is not None and arguments.flag("all-platforms"):
        raise UsageError("--platform and --all-platforms exclude each other")
    with session.progress(is_quiet=is_quiet) as sink, session.engine(sink) as engine:
        names = list(arguments.words)
        if arguments.flag("all-tags"):
            names = [
                f"{name}:{tag}"
                for name in map(untagged, names)
                for tag in engine.tags(name, limit=MAX_TAGS, access=reach)
            ]
        for name in names:
            try:
                pulled = engine.pull(
                    name,
                    platform=wanted,
                    is_every_platform=arguments.flag("all-platforms"),
                    access=reach,
                )
            except BuilderError as error:
                if len(names) == 1:
                    raise
                session.fail(error)
                continue
            if not is_quiet:
                state = "Downloaded newer image" if pulled.is_new else "Image is up to date"
                session.print(f"Digest: {pulled.digest}")
                session.print(f"Status: {state} for {pulled.reference.familiar}")
            session.print(str(pulled.reference))
    return session.status
