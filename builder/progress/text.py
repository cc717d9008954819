"""Step output as lines that can be shown: decoded, safe, with colours only where they belong."""

import re
from collections.abc import Iterator

from builder.text import visible

MAX_LINE_BYTES = 1 << 16
RESET = "\x1b[0m"
_COLOUR = re.compile(r"(\x1b\[[0-9;:]*m)")


class Lines:
    """Joins the pieces of one stream to lines."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._rest = b""

    def take(self, chunk: bytes) -> Iterator[bytes]:
        """Give the lines that a piece completes, and what is too long to wait for an end."""
        content = self._rest + chunk
        *lines, self._rest = content.split(b"\n")
        yield from lines
        if len(self._rest) > MAX_LINE_BYTES:
            yield self._rest
            self._rest = b""

    def end(self) -> Iterator[bytes]:
        """Give the unfinished last line, if there is one."""
        if self._rest:
            yield self._rest
        self._rest = b""


def shown(line: bytes, *, has_colours: bool) -> str:
    """Make one line of output safe to show.

    Of a line that overwrote itself by carriage returns, only the last state is shown.
    """
    text = line.decode("utf-8", "backslashreplace").rstrip("\r").rpartition("\r")[2]
    if "\x1b" not in text:
        return visible(text)
    parts = _COLOUR.split(text)
    kept = [
        (part if has_colours else "") if at % 2 else visible(part) for at, part in enumerate(parts)
    ]
    if has_colours and len(parts) > 1:
        kept.append(RESET)
    return "".join(kept)


def seconds(duration_ns: int) -> str:
    """Write a duration with one decimal, never negative."""
    return f"{max(0, duration_ns) / 1e9:.1f}s"


def size(amount_bytes: int) -> str:
    """Write a size in powers of 1000 with two decimals, `1.23MB`."""
    value = float(amount_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004 - powers of 1000
            return f"{value:.0f}B" if unit == "B" else f"{value:.2f}{unit}"
        value /= 1000
    return f"{value:.2f}TB"
