"""Sources of ADD that are not files of the context: URLs and Git repositories.

Both need a pin from outside. While it is missing, an empty vertex stands in: its graph is not used.
"""

from builder.dockerfile.git_source import GitSource, InvalidGitSource, git_source
from builder.dockerfile.paths import base_name
from builder.dockerfile.request import GitNeed, HttpNeed
from builder.dockerfile.scope import Resolution
from builder.errors import DockerfileError, InvalidImage
from builder.graph.ops import Git, Http, Scratch
from builder.graph.vertex import Vertex
from builder.oci.digest import Digest, parse_digest
from builder.source import Span
from builder.values import NamedTuple

UNNAMED = "__unnamed__"


class RemoteOptions(NamedTuple):
    """What the flags of ADD say about a remote source, and how its step is called."""

    checksum: str = ""
    keep_git_dir: bool | None = None
    name: str = ""


def is_url(source: str) -> bool:
    """Say whether a source is to be downloaded as one file."""
    return source.startswith(("http://", "https://")) and not _is_git(source)


def git_of(source: str, span: Span | None) -> GitSource | None:
    """Read a source as Git, or return None; raise DockerfileError if its options are wrong."""
    try:
        return git_source(source)
    except InvalidGitSource as error:
        raise DockerfileError(
            str(error), fix="write options like ?ref=v1&subdir=a", span=span, word=source
        ) from None


def download_name(url: str) -> str:
    """Name a download by the last element of the URL's path."""
    path = url.partition("://")[2].partition("#")[0].partition("?")[0]
    name = base_name("/" + path.partition("/")[2])
    return UNNAMED if name in {"/", ".", ".."} else name


def http_vertex(
    url: str, options: RemoteOptions, resolution: Resolution, span: Span | None
) -> Vertex:
    """Make the vertex of a download; its content must have the checksum, if one was given.

    Raises DockerfileError.
    """
    wanted = checksum_digest(options.checksum, span) if options.checksum else None
    pin = resolution.pins.urls.get(url)
    if pin is None:
        resolution.needs.url(HttpNeed(url, wanted, span))
        return Vertex(Scratch())
    if wanted is not None and wanted != pin.digest:
        raise DockerfileError(
            f"digest mismatch {wanted}: {pin.digest}",
            fix="check the URL, or write the new checksum",
            span=span,
            word=options.checksum,
        )
    op = Http(url, download_name(url), pin.digest, pin.mtime_s)
    return Vertex(op, name=options.name, span=span)


def git_vertex(
    source: GitSource, options: RemoteOptions, resolution: Resolution, span: Span | None
) -> Vertex:
    """Make the vertex of a checkout; flags and the source's own options must not disagree.

    Raises DockerfileError.
    """
    keep_git_dir = _agreed_keep(options.keep_git_dir, source.keep_git_dir, span)
    checksum = _agreed_checksum(options.checksum, source.checksum, span)
    pin = resolution.pins.gits.get((source.remote, source.ref))
    if pin is None:
        resolution.needs.git(GitNeed(source.remote, source.ref, checksum, span))
        return Vertex(Scratch())
    if not pin.commit.startswith(checksum):
        raise DockerfileError(
            f"expected checksum to match {checksum}, got {pin.commit}",
            fix="check the ref, or write the new commit",
            span=span,
            word=checksum,
        )
    op = Git(
        source.remote,
        pin.commit,
        source.subdir,
        keep_git_dir,
        source.submodules,
        source.ref,
        source.has_commit_times,
    )
    return Vertex(op, name=options.name, span=span)


def checksum_digest(text: str, span: Span | None) -> Digest:
    """Read the checksum of a download; only SHA-256 is known.

    Raises DockerfileError.
    """
    algorithm, colon, _ = text.partition(":")
    if colon and algorithm != "sha256":
        raise DockerfileError(
            "unsupported digest algorithm",
            fix="give the SHA-256 of the content",
            span=span,
            word=text,
        )
    try:
        return parse_digest(text)
    except InvalidImage as error:
        raise DockerfileError(
            f"invalid checksum digest format: {error.what}", fix=error.fix, span=span, word=text
        ) from None


def _is_git(source: str) -> bool:
    try:
        return git_source(source) is not None
    except InvalidGitSource:
        return True


def _agreed_keep(flag: bool | None, query: bool | None, span: Span | None) -> bool:  # noqa: FBT001
    if flag is not None and query is not None and flag != query:
        raise DockerfileError(
            "inconsistent keep-git-dir configuration",
            fix="say it once, by --keep-git-dir or in the URL",
            span=span,
            word="--keep-git-dir",
        )
    return bool(flag if query is None else query)


def _agreed_checksum(flag: str, query: str, span: Span | None) -> str:
    if flag and query and flag != query:
        raise DockerfileError(
            f'checksum mismatch "{flag}" != "{query}"',
            fix="say it once, by --checksum or in the URL",
            span=span,
            word="--checksum",
        )
    return query or flag
