"""`builder copy`: images and artefacts from one place to another, in another form if asked for."""

from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.registry_options import ACCESS_OPTIONS, ENDS_OPTIONS, access_of, platform
from builder.cli.session import Session

COMMAND = Command(
    name="copy",
    summary="Copy an image or artefact between registries, archives, directories and the store.",
    description=(
        "Places: docker://NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME],"
        " dir:DIR; a bare NAME is an image of the store. Digests stay as they are, unless another"
        " form is asked for, or the destination cannot hold this one."
    ),
    arguments=(Argument("SOURCE"), Argument("DESTINATION")),
    options=(
        flag("-a", "--all", help="copy all platforms, and the index itself"),
        value("--platform", "OS/ARCH", help="of several platforms, the one to copy"),
        value("-f", "--format", "FORMAT", help="media types: oci or docker"),
        value("--compression", "KIND", help="layers: gzip, zstd (oci only) or none"),
        value("--compression-level", "NUMBER", help="gzip: 0 to 9, zstd: 0 to 22"),
        flag("--preserve-digests", help="fail rather than convert anything"),
        flag("--referrers", help="copy signatures and whatever else refers to the image, too"),
        flag("-q", "--quiet", help="print the digest only"),
        *ACCESS_OPTIONS,
        *ENDS_OPTIONS,
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Copy, and print the digest of what was written."""
    from builder.cli.values import integer
    from builder.engine.conversion import compression_of, conversion, format_of
    from builder.engine.copies import check_one_registry, copy_request

    source, destination = arguments.words
    level = arguments.value("compression-level")
    form, kind = arguments.value("format"), arguments.value("compression")
    request = copy_request(
        source, destination, platform(arguments), is_whole=arguments.flag("all")
    )._replace(
        conversion=conversion(
            None if form is None else format_of(form),
            None if kind is None else compression_of(kind),
            None if level is None else integer(level, "--compression-level", minimum=0),
            is_refused=arguments.flag("preserve-digests"),
        ),
        has_referrers=arguments.flag("referrers"),
    )
    ends = access_of(arguments, "src"), access_of(arguments, "dest")
    if arguments.value("creds") is not None:
        check_one_registry(request)
    is_quiet = arguments.flag("quiet")
    with session.progress(is_quiet=is_quiet) as sink, session.engine(sink) as engine:
        digest = engine.copy_image(request, *ends)
    if request.destination.location != "-":
        session.print(digest)
    return 0
