"""Decompressors behind one face: gzip, zstd, bzip2 and xz, each of any number of members.

An inflater gives at most so many bytes a call and keeps the rest of its input, so a bomb unpacks
piece by piece. The libraries load when first needed.
"""

from typing import Any, Literal, cast

from builder.errors import InvalidImage

Format = Literal["none", "gzip", "zstd", "bzip2", "xz"]

_GZIP_WBITS = 31
_XZ_MEMORY_BYTES = 128 << 20


class Inflater:
    """A decompressor of a sequence of members, with `make` for each; what they raise is `errors`.

    Members have the interface of bz2.BZ2Decompressor.
    """

    def __init__(self, name: Format, errors: tuple[type[Exception], ...]) -> None:
        """Begin before the first member."""
        self._name = name
        self._errors = errors
        self._member: Any = None
        self._held = b""
        self._make = _factory(name)

    def inflate(self, content: bytes, size: int) -> bytes:
        """Take compressed bytes, give up to `size` plain ones; none means: more input, please."""
        self._held += content
        while True:
            if self._member is None and not self._begin():
                return b""
            piece = self._step(size)
            if self._member.eof:
                self._held = self._member.unused_data
                self._member = None
            if piece or (self._member is not None and self._member.needs_input):
                return piece

    def end(self) -> None:
        """Say that there is no more input; raise InvalidImage if a member is not complete."""
        if self._member is not None or self._held:
            raise InvalidImage(f"the {self._name} stream is cut off")

    def _begin(self) -> bool:
        self._held = self._held.lstrip(b"\0")  # padding between members, as tapes have it
        if not self._held:
            return False
        self._member = self._make()
        return True

    def _step(self, size: int) -> bytes:
        content, self._held = self._held, b""
        try:
            piece: bytes = self._member.decompress(content, size)
        except self._errors as error:
            raise InvalidImage(f"the {self._name} stream is damaged: {error}") from None
        return piece


class _Gzip:
    """One gzip member with the interface of bz2.BZ2Decompressor."""

    def __init__(self) -> None:
        from isal import isal_zlib

        self._member: Any = isal_zlib.decompressobj(wbits=_GZIP_WBITS)
        self.needs_input = True

    def decompress(self, content: bytes, size: int) -> bytes:
        member = self._member
        tail = member.unconsumed_tail
        piece: bytes = member.decompress(tail + content if tail else content, size)
        self.needs_input = not member.unconsumed_tail and len(piece) < size
        return piece

    @property
    def eof(self) -> bool:
        return bool(self._member.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._member.unused_data)


def inflater(name: Format) -> Inflater:
    """Make the decompressor of a format."""
    errors: list[type[Exception]] = [OSError, ValueError, EOFError]
    if name == "gzip":
        from isal import igzip_lib

        errors.append(cast("type[Exception]", igzip_lib.IsalError))
    elif name == "zstd":
        from pyzstd import ZstdError

        errors.append(ZstdError)
    elif name == "xz":
        from lzma import LZMAError

        errors.append(LZMAError)
    return Inflater(name, tuple(errors))


def _factory(name: Format) -> Any:
    if name == "gzip":
        return _Gzip
    if name == "zstd":
        from pyzstd import ZstdDecompressor

        return ZstdDecompressor
    if name == "bzip2":
        from bz2 import BZ2Decompressor

        return BZ2Decompressor
    from lzma import LZMADecompressor

    return lambda: LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)
