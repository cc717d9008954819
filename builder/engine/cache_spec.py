"""What `--cache-from` and `--cache-to` say.

Spec: docker/buildx, "Cache storage backends".
"""

from typing import Literal, cast

from builder.errors import UsageError
from builder.oci.media import Compression
from builder.text import nearest
from builder.values import NamedTuple

Mode = Literal["min", "max"]
TYPES = ("inline", "local", "registry")
_KEYS = (
    "compression", "compression-level", "dest", "force-compression", "ignore-error",
    "image-manifest", "mode", "mounts", "oci-mediatypes", "ref", "src", "tag", "type",
)  # fmt: skip


class CacheSpec(NamedTuple):
    """Where cache is taken from or carried to."""

    type: str
    place: str = ""
    """A directory, or a reference."""
    tag: str = "latest"
    mode: Mode = "min"
    compression: Compression = "gzip"
    level: int | None = None
    has_mounts: bool = False
    is_error_ignored: bool = False

    def __str__(self) -> str:
        """Name it as in messages."""
        tag = "" if self.tag == "latest" else f",tag={self.tag}"
        return f"{self.type}:{self.place}{tag}"


def parse_cache(text: str, option: str) -> CacheSpec:
    """Read one value of an option; a bare word is a reference in a registry.

    Raises UsageError.
    """
    if "=" not in text:
        return CacheSpec("registry", text)
    fields: dict[str, str] = {}
    for field in text.split(","):
        name, equals, value = field.partition("=")
        name = name.strip().lower()
        if name not in _KEYS or not equals:
            guess = nearest(name, _KEYS)
            raise UsageError(
                f"{field!r} in {option} is not known",
                fix=f"did you mean {guess}=?" if guess else None,
            )
        fields[name] = value
    kind = fields.get("type", "registry")
    if kind not in TYPES:
        raise UsageError(f"{option} type={kind} is not supported", fix=f"use {', '.join(TYPES)}")
    key = {"local": "src" if option == "--cache-from" else "dest", "registry": "ref"}.get(kind)
    if key is not None and not fields.get(key):
        raise UsageError(f"{option} type={kind} needs {key}=", fix=f"add ,{key}=…")
    return CacheSpec(
        kind,
        fields.get(key or "", ""),
        fields.get("tag", "latest"),
        cast("Mode", _one_of(fields, "mode", ("min", "max"))),
        cast("Compression", _compression(fields)),
        _level(fields),
        _one_of(fields, "mounts", ("none", "all")) == "all",
        fields.get("ignore-error", "false").lower() in {"true", "1"},
    )


def _one_of(fields: dict[str, str], name: str, known: tuple[str, ...]) -> str:
    value = fields.get(name, known[0])
    if value not in known:
        raise UsageError(f"{name}={value} is not known", fix=f"use {' or '.join(known)}")
    return value


def _compression(fields: dict[str, str]) -> str:
    if fields.get("compression") == "uncompressed":
        return "none"
    return _one_of(fields, "compression", ("gzip", "zstd", "none"))


def _level(fields: dict[str, str]) -> int | None:
    text = fields.get("compression-level")
    if text is None:
        return None
    if not text.isdigit():
        raise UsageError(f"compression-level={text} is not a number")
    return int(text)
