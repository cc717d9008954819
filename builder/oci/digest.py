"""Digests: names of bytes by their SHA-256, and hashes of structured keys.

A digest string becomes part of a path, so nothing is a Digest before `parse_digest` accepted it.
"""

from _hashlib import openssl_sha256  # hashlib itself costs 2 ms more to import
from typing import NewType

from builder.errors import InvalidImage

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hexadecimal digits, checked."""

SHA256_PREFIX = "sha256:"
sha256 = openssl_sha256
_HEX_LENGTH = 64
_HEX = frozenset("0123456789abcdef")


def parse_digest(text: str) -> Digest:
    """Check the form of a digest; raise InvalidImage unless it is SHA-256 in lower case.

    Spec: OCI image-spec, descriptor.md, "Digests".
    """
    encoded = text.removeprefix(SHA256_PREFIX)
    if encoded == text or len(encoded) != _HEX_LENGTH or not _HEX.issuperset(encoded):
        raise InvalidImage(
            f"{text[:100]!r} is not a SHA-256 digest",
            fix="a digest reads sha256: and 64 lower-case hexadecimal digits",
        )
    return Digest(text)


def digest_of(content: bytes | bytearray | memoryview) -> Digest:
    """Name bytes by their SHA-256."""
    return Digest(SHA256_PREFIX + sha256(content).hexdigest())


def hex_of(digest: Digest) -> str:
    """Give the 64 hexadecimal digits of a digest, a safe file name."""
    return digest[len(SHA256_PREFIX) :]


Field = bytes | str | int | bool | None | tuple["Field", ...]


def key(domain: str, *fields: Field) -> Digest:
    """Hash structured fields, unambiguously: type tag and length precede each, a domain all.

    Two calls give the same digest only if domain and fields are equal. `domain` carries a version,
    such as `exec/1`.
    """
    out = bytearray()
    _encode(domain, out)
    _encode(fields, out)
    return digest_of(out)


def _encode(field: Field, out: bytearray) -> None:
    match field:
        case None:
            out += b"n"
        case bool():
            out += b"t" if field else b"f"
        case int():
            _tagged(b"i", str(field).encode(), out)
        case str():
            _tagged(b"s", field.encode("utf-8", "surrogateescape"), out)
        case bytes():
            _tagged(b"b", field, out)
        case tuple():
            out += b"l%d:" % len(field)
            for item in field:
                _encode(item, out)


def _tagged(tag: bytes, content: bytes, out: bytearray) -> None:
    out += b"%s%d:" % (tag, len(content))
    out += content
