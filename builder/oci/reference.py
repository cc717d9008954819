"""Image references: `registry/repository:tag@digest`, with Docker's defaults.

The grammar is small enough for a scanner; the pattern is that of the distribution project.

Spec: OCI distribution-spec, "Pulling manifests"; distribution reference grammar.
"""

from builder.errors import InvalidImage, UsageError
from builder.oci.digest import Digest, parse_digest
from builder.values import NamedTuple

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_OFFICIAL = "library/"
_MAX_REPOSITORY = 255
_MAX_TAG = 128
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_TAG = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-")
_DOMAIN = _TAG - {"_"}


class Reference(NamedTuple):
    """A fully qualified name. `tag` is empty only if a digest was given without one."""

    domain: str
    repository: str
    tag: str = ""
    digest: Digest | None = None

    def __str__(self) -> str:
        """Write it in full: `docker.io/library/busybox:latest`."""
        return f"{self.domain}/{self.repository}{self._suffix()}"

    @property
    def familiar(self) -> str:
        """Write it the short way that users type: `busybox:latest`."""
        name = f"{self.domain}/{self.repository}"
        if self.domain == DEFAULT_DOMAIN:
            name = self.repository.removeprefix(_OFFICIAL)
        return name + self._suffix()

    @property
    def name(self) -> str:
        """Write it without tag and digest."""
        return f"{self.domain}/{self.repository}"

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag


def parse_reference(text: str) -> Reference:
    """Read a reference and fill in Docker's defaults; raise UsageError if it is malformed."""
    name, at, digest = text.partition("@")
    tag = ""
    if ":" in name.rpartition("/")[2]:
        name, _, tag = name.rpartition(":")
        _check_tag(text, tag)
    domain, repository = _split_domain(name)
    _check_repository(text, domain, repository)
    if not at:
        return Reference(domain, repository, tag or DEFAULT_TAG)
    return Reference(domain, repository, tag, _parse_digest(text, digest))


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    is_domain = "." in first or ":" in first or first == "localhost" or first != first.lower()
    if not slash or not is_domain:
        domain, repository = DEFAULT_DOMAIN, name
    else:
        domain, repository = first, rest
    if domain in {DEFAULT_DOMAIN, "index.docker.io"}:
        domain = DEFAULT_DOMAIN
        if "/" not in repository:
            repository = _OFFICIAL + repository
    return domain, repository


def _check_repository(text: str, domain: str, repository: str) -> None:
    host, colon, port = domain.partition(":")
    domain_ok = (
        bool(host)
        and _DOMAIN.issuperset(host)
        and all(part and part[0] != "-" and part[-1] != "-" for part in host.split("."))
        and (not colon or (port.isascii() and port.isdigit()))
    )
    if domain_ok and len(repository) <= _MAX_REPOSITORY and _is_repository(repository):
        return
    fix = "names are lower case: letters, digits, and . _ - between them"
    if repository != repository.lower():
        fix = "repository names are lower case"
    raise UsageError(f"{text[:300]!r} is not a valid image reference", fix=fix)


def _is_repository(repository: str) -> bool:
    return all(_is_component(component) for component in repository.split("/"))


def _is_component(component: str) -> bool:
    r"""Match [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*."""
    separator = ""
    for index, character in enumerate(component):
        if character in _LOWER:
            if separator not in {"", ".", "_", "__"} and separator.strip("-"):
                return False
            separator = ""
        elif character in "._-" and index > 0:
            separator += character
        else:
            return False
    return bool(component) and not separator


def _check_tag(text: str, tag: str) -> None:
    if not tag or len(tag) > _MAX_TAG or tag[0] in ".-" or not _TAG.issuperset(tag):
        raise UsageError(
            f"{text[:300]!r} has an invalid tag",
            fix="a tag has at most 128 letters, digits, and _ . - and starts with none of . -",
        )


def _parse_digest(text: str, digest: str) -> Digest:
    try:
        return parse_digest(digest)
    except InvalidImage as error:
        raise UsageError(f"{text[:300]!r} has an invalid digest: {error}") from None
