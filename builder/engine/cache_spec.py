"""What `--cache-from` and `--cache-to` say.

What cannot be read is a notice and no cache: it never fails a build. What cannot be written fails
the command after the image was kept, with status 1, unless `ignore-error=true` makes it a notice.

Spec: docker/buildx, "Cache storage backends".
"""

from typing import Literal, cast

from builder.errors import UsageError
from builder.oci.media import Compression
from builder.oci.reference import parse_reference
from builder.text import nearest, visible
from builder.values import NamedTuple

Mode = Literal["min", "max"]
TYPES = ("inline", "local", "registry")
_LEVELS = {"gzip": 9, "zstd": 22, "none": 0}
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
    compression: Compression | None = None
    """None takes the blobs that are here, and writes gzip where there is none."""
    level: int | None = None
    has_mounts: bool = False
    is_error_ignored: bool = False
    """Whether a failure to write it is a notice, not the end of the command."""
    is_forced: bool = False
    """Whether layers that were pulled are compressed anew too."""
    has_oci_types: bool = True
    is_manifest: bool = True
    """Whether a single manifest may be the root; else an index is, always."""
    is_bare: bool = False
    """Whether it was a bare word, which may name an image of the store too."""

    def __str__(self) -> str:
        """Name it as in messages."""
        tag = "" if self.tag == "latest" else f",tag={self.tag}"
        place = f":{visible(self.place)}{tag}" if self.place else ""
        return f"{self.type}{place}"


def parse_cache(text: str, option: str) -> CacheSpec:
    """Read one value of an option; a bare word is a reference in a registry.

    Raises UsageError.
    """
    if "=" not in text:
        parse_reference(text)
        return CacheSpec("registry", text, is_bare=True)
    fields = _fields(text, option)
    kind = fields.get("type", "registry")
    if kind not in TYPES:
        raise UsageError(f"{option} type={kind} is not supported", fix=f"use {', '.join(TYPES)}")
    is_source = option == "--cache-from"
    if kind == "inline" and is_source:
        raise UsageError(
            "--cache-from type=inline names no image", fix="write type=registry,ref=NAME"
        )
    key = {"local": "src" if is_source else "dest", "registry": "ref"}.get(kind)
    if key is not None and not fields.get(key):
        raise UsageError(f"{option} type={kind} needs {key}=", fix=f"add ,{key}=…")
    if kind == "registry":
        parse_reference(fields["ref"])
    compression = _compression(fields)
    return CacheSpec(
        kind,
        fields.get(key or "", ""),
        fields.get("tag", "latest"),
        cast("Mode", _one_of(fields, "mode", ("min", "max"))),
        compression,
        _level(fields, compression or "gzip"),
        _one_of(fields, "mounts", ("none", "all")) == "all",
        is_error_ignored=_claim(fields, "ignore-error", is_default=False),
        is_forced=_claim(fields, "force-compression", is_default=False),
        has_oci_types=_claim(fields, "oci-mediatypes", is_default=True),
        is_manifest=_claim(fields, "image-manifest", is_default=True),
    )


def _fields(text: str, option: str) -> dict[str, str]:
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
    return fields


def _one_of(fields: dict[str, str], name: str, known: tuple[str, ...]) -> str:
    value = fields.get(name, known[0])
    if value not in known:
        raise UsageError(f"{name}={value} is not known", fix=f"use {' or '.join(known)}")
    return value


def _claim(fields: dict[str, str], name: str, *, is_default: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return is_default
    if value.lower() not in {"true", "1", "false", "0"}:
        raise UsageError(f"{name}={value} is neither true nor false", fix=f"write {name}=true")
    return value.lower() in {"true", "1"}


def _compression(fields: dict[str, str]) -> Compression | None:
    if "compression" not in fields:
        return None
    if fields["compression"] == "uncompressed":
        return "none"
    return cast("Compression", _one_of(fields, "compression", ("gzip", "zstd", "none")))


def _level(fields: dict[str, str], compression: Compression) -> int | None:
    text = fields.get("compression-level")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= _LEVELS[compression]):
        raise UsageError(
            f"compression-level={text} does not suit {compression}",
            fix="gzip has levels 0 to 9, zstd 0 to 22",
        )
    return int(text)
