"""`builder build`: a Dockerfile and a context in, an image out."""

import os
from typing import TYPE_CHECKING

from builder.cli.options import Argument, Arguments, Command, flag, multiple, optional, value
from builder.cli.session import Session
from builder.errors import KernelError

if TYPE_CHECKING:
    from builder.engine.forerunner import Forerunner
    from builder.engine.request import BuildRequest, Built

_BUDGET = ("keep-storage", "max-used", "min-free")
_FORMATS = ("text", "json")
_PROGRESS = ("auto", "plain", "tty", "quiet", "rawjson", "none")
_DESCRIPTION = """\
Build an image from a Dockerfile.

--cache-from asks caches for the steps that this store does not know, in the order given: NAME, an
image of the store or else of a registry that carries its cache; type=registry,ref=NAME, such an
image or a cache; type=local,src=DIR[,tag=TAG]. One that is missing or broken is told and no more.

--cache-to writes a cache: type=inline, into the image itself (as does --build-arg
BUILDKIT_INLINE_CACHE=1); type=registry,ref=NAME; type=local,dest=DIR[,tag=TAG]. To these:
mode=min|max (the steps of the image's own layers, or all), mounts=all (cache mounts too),
compression=gzip|zstd|uncompressed, compression-level=N, force-compression=true,
oci-mediatypes=false, image-manifest=false (always an index). If it cannot be written, the image is
kept and the status is 1; with ignore-error=true that is only told.

When a build has written anything, a process of its own brings the cache within a budget: 15% of
the disk or 20 GB, whichever is more, but never more than half of the disk. Other limits come from
--max-used, --min-free and --keep-storage, else from BUILDER_MAX_USED, BUILDER_MIN_FREE,
BUILDER_KEEP_STORAGE and BUILDER_GC=off, else from the table [gc] of builder.toml (max-used,
min-free, keep-storage, keep-duration, enabled). What images, containers and running builds need
does not count and is never removed."""

COMMAND = Command(
    name="build",
    summary="Build an image from a Dockerfile.",
    description=_DESCRIPTION,
    arguments=(Argument("PATH|URL|-"),),
    options=(
        multiple("--add-host", "HOST:IP", help="add a line to /etc/hosts of every step"),
        multiple("--allow", "ENTITLEMENT", help="allow network.host or security.insecure"),
        multiple("--annotation", "KEY=VALUE", help="annotate the image"),
        multiple("--build-arg", "NAME[=VALUE]", help="set a build argument"),
        multiple("--build-context", "NAME=SOURCE", help="name another context or image"),
        multiple("--cache-from", "SOURCE", help="look steps up elsewhere too (see above)"),
        multiple("--cache-to", "DEST", help="write the cache elsewhere too (see above)"),
        value(
            "--call",
            "METHOD[,format=json]",
            help="build, check, or show the outline or targets",
        ),
        value("--cgroup-parent", "CGROUP", help="put the steps below this control group"),
        flag("--check", help="check the Dockerfile and build nothing"),
        value("--cpus", "NUMBER", help="let each step use this many processors"),
        optional("--explain", "FORMAT", help="say why steps ran", implied="text", choices=_FORMATS),
        value("-f", "--file", "PATH", help="the Dockerfile (default: PATH/Dockerfile)"),
        value("--iidfile", "FILE", help="write the image ID to FILE"),
        value("--jobs", "NUMBER", help="how many steps may run at once"),
        value("--keep-storage", "SIZE", help="afterwards leave at least so much cache: 2GB, 5%"),
        multiple("--label", "KEY=VALUE", help="set a label of the image"),
        flag("--load", help="keep the image in the local store (the default without --output)"),
        value("--max-used", "SIZE", help="afterwards keep no more cache: 20GB, 15%, none"),
        value("-m", "--memory", "BYTES", help="limit the memory of each step"),
        flag("--locked", help="refuse what the lock beside the Dockerfile does not pin"),
        value("--metadata-file", "FILE", help="write the digests to FILE as JSON"),
        value("--min-free", "SIZE", help="afterwards leave so much of the disk free: 10GB, 5%"),
        value("--network", "MODE", help="the network of RUN: default, none or host"),
        flag("--no-cache", help="use no cache record"),
        multiple("--no-cache-filter", "STAGE", help="use no cache record for these stages"),
        flag("--offline", help="fetch nothing: use only the images and files that are here"),
        multiple("--opt", "KEY=VALUE", help="an option of the front end, such as hostname=NAME"),
        multiple("-o", "--output", "DEST", help="write the result: type=oci,dest=FILE, a path, -"),
        multiple("--platform", "PLATFORM", help="build for this platform (may be a list)"),
        value("--progress", "TYPE", help="how to show progress", choices=_PROGRESS),
        flag("--pull", help="look for newer base images"),
        flag("--push", help="send the image to its registry"),
        flag("-q", "--quiet", help="print the image ID and nothing else"),
        multiple("--secret", "id=ID,src=FILE|env=NAME", help="lend a secret to RUN"),
        value("--shm-size", "BYTES", help="the size of /dev/shm"),
        flag("--squash", help="put all new layers into one"),
        multiple("--ssh", "default|ID[=SOCKET|KEY]", help="lend an SSH agent to RUN"),
        flag("--strict", help="make errors of what is silently accepted otherwise"),
        multiple("-t", "--tag", "NAME[:TAG]", help="name the image"),
        value("--target", "STAGE", help="stop at this stage"),
        multiple("--ulimit", "NAME=SOFT[:HARD]", help="set a resource limit of the steps"),
        optional("--provenance", "MODE", help="attestations", implied="true", is_hidden=True),
        optional("--sbom", "MODE", help="attestations", implied="true", is_hidden=True),
        value("--builder", "NAME", help="for docker's command lines", is_hidden=True),
        flag("--rm", help="for docker's command lines", is_on=True, is_hidden=True),
        flag("--force-rm", help="for docker's command lines", is_hidden=True),
        flag("--compress", help="for docker's command lines", is_hidden=True),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Build, then write what was asked for besides the outputs."""
    forerunner = _forerunner(arguments, session)
    from builder.cli.build_request import build_request, progress_kind

    request = build_request(arguments, session)
    _set_budget(arguments, session)
    jobs = arguments.value("jobs")
    if jobs is not None:
        from builder.cli.values import integer

        session.settings = session.settings._replace(jobs=integer(jobs, "--jobs", minimum=1))
    _forget_old(arguments.value("iidfile"))
    kind = progress_kind(arguments, session)
    given = forerunner if request.call == "build" else None
    with session.progress(kind) as sink, session.engine(sink, forerunner=given) as engine:
        built = engine.build(request)
    _report(arguments, session, request, built)
    from builder.cli.shortcut import state_writer
    from builder.engine.afterwards import tidy

    is_repeatable = built.status == 0 and not (
        _writes_files(arguments) or _reads_environment(arguments)
    )
    write = state_writer(session, built, is_quiet=arguments.flag("quiet"))
    if not session.afterwards:
        session.afterwards.add(lambda: tidy(session.settings.root))
    if write is not None and is_repeatable:
        session.afterwards.add(write, is_first=True)
    from builder.cli import bundle

    if bundle.is_missed():
        session.afterwards.add(_write_bundle)
    return built.status


def _write_bundle() -> None:
    from builder.cli.bundling import write_elsewhere

    write_elsewhere()


def _forerunner(arguments: Arguments, session: Session) -> "Forerunner":
    """Let the Dockerfile be parsed while the rest is loaded: this comes before all that loads."""
    from builder.engine.forerunner import Forerunner

    if arguments.flag("check") or arguments.value("call"):
        return Forerunner(None)
    task = arguments.words[0], arguments.value("file"), session.settings.root
    early = session.forerunner
    if early is not None:
        if early.is_for(*task):
            return early
        early.close()
    return Forerunner.start(*task)


def _set_budget(arguments: Arguments, session: Session) -> None:
    """Let the limits that were given stand above those of the environment and the file."""
    given = {key: text for key in _BUDGET if (text := arguments.value(key)) is not None}
    if given:
        from builder.engine.budget import budget

        budget("", given, 1 << 40)  # a mistake is found before anything runs
        limits = (*session.settings.limits, *given.items())
        session.settings = session.settings._replace(limits=limits)


def _writes_files(arguments: Arguments) -> bool:
    return any(arguments.value(name) for name in ("iidfile", "metadata-file", "call"))


def _reads_environment(arguments: Arguments) -> bool:
    """Whether a build argument takes the caller's variable, which the next build may change."""
    return any("=" not in text for text in arguments.values("build-arg"))


def _report(
    arguments: Arguments, session: Session, request: "BuildRequest", built: "Built"
) -> None:
    """Write the ID file, the metadata file, and what belongs on standard output."""
    image = built.image_id or built.digest  # several platforms have no one configuration
    path = arguments.value("iidfile")
    if path and image:
        _write_file(path, image.encode())
    path = arguments.value("metadata-file")
    if path:
        _write_file(path, _metadata(built))
    if not arguments.flag("quiet"):
        from builder.cli.warnings import grouped

        for line in grouped(built.warnings):
            session.note(line)
        if built.note:
            session.note(built.note)
    if built.report:
        session.print(built.report.rstrip("\n"))
    is_stdout_taken = any(output.is_stdout for output in request.outputs)
    if arguments.flag("quiet") and image and not is_stdout_taken:
        session.print(image)


def _metadata(built: "Built") -> bytes:
    import json

    described = built.descriptor
    facts = {
        "buildx.build.warnings": list(built.warnings),
        "containerimage.config.digest": built.image_id,
        "containerimage.descriptor": described
        and {
            "mediaType": described.media_type,
            "digest": described.digest,
            "size": described.size_bytes,
            **({"annotations": dict(described.annotations)} if described.annotations else {}),
        },
        "containerimage.digest": built.digest,
        "image.name": ",".join(built.names),
    }
    return json.dumps({name: fact for name, fact in facts.items() if fact}, indent=2).encode()


def _forget_old(path: str | None) -> None:
    """Remove an ID file of an earlier build: it must not outlive a failure of this one."""
    if path and os.path.isfile(path):
        try:
            os.unlink(path)
        except OSError as error:
            raise KernelError("unlink", error.errno or 0, path) from None


def _write_file(path: str, content: bytes) -> None:
    try:
        with open(path, "wb") as out:
            out.write(content)
    except OSError as error:
        raise KernelError("write", error.errno or 0, path) from None
