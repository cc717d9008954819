"""How a container's monitor and those attached to it talk: frames on a stream socket.

A frame is Docker's: one byte of kind, three of zero, the length in four (big-endian), the content.
"""

from _struct import pack, unpack_from
from collections.abc import Iterator

STDIN, STDOUT, STDERR = 0, 1, 2
EXIT = 3
"""From the monitor: the main process ended; its status in decimal."""
HELLO = 16
"""To the monitor, first: the words `output` and/or `input`, separated by spaces."""
STDIN_END = 17
RESIZE = 18
"""To the monitor: rows and columns, 16 bits each."""
HEADER_BYTES = 8
MAX_FRAME_BYTES = 1 << 20


def frame(kind: int, content: bytes = b"") -> bytes:
    """Encode one frame."""
    return pack(">BxxxI", kind, len(content)) + content


def size(rows: int, columns: int) -> bytes:
    """Encode the frame that says how large the terminal is."""
    return frame(RESIZE, pack(">HH", rows, columns))


def parse_size(content: bytes) -> tuple[int, int]:
    """Decode the content of a RESIZE frame."""
    rows, columns = unpack_from(">HH", content)
    return rows, columns


class Decoder:
    """Puts frames together from pieces of any size."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._held = bytearray()

    def feed(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        """Take a piece; give the frames that are whole. Raises ValueError for an absurd length."""
        self._held += content
        while len(self._held) >= HEADER_BYTES:
            kind, length = unpack_from(">BxxxI", self._held)
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            if len(self._held) < HEADER_BYTES + length:
                return
            body = bytes(self._held[HEADER_BYTES : HEADER_BYTES + length])
            del self._held[: HEADER_BYTES + length]
            yield kind, body
