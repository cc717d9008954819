"""The texts that tell, in an image's history, which instruction made an entry.

They imitate the reference builder byte for byte, which prints some values by Go's `%q` and `%+v`.

Spec: OCI image-spec, config.md, "history"; Go's fmt, strconv.Quote and time.Duration.String.
"""

from collections.abc import Iterable, Mapping, Sequence

from builder.graph.ops import Exec
from builder.graph.vertex import Vertex
from builder.oci.config import Healthcheck, History

COMMENT = "buildkit.dockerfile.v0"
IMPORTED_COMMENT = "buildkit.exporter.image.v0"
"""Marks entries that had to be made up for layers whose image says nothing about them."""
LAYER_SUFFIX = " # buildkit"

_SHORT_ESCAPES = {
    "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v",
    "\\": r"\\", '"': r"\"",
}  # fmt: skip
_ASCII_END = 0x80
_ESCAPED_BYTE = 0xDC00
_SURROGATES = range(0xD800, 0xE000)
_BMP_END = 0x10000
_UNITS = (("ns", 1), ("µs", 1_000), ("ms", 1_000_000))
_SECOND = 1_000_000_000


def entry(created_by: str, *, is_empty_layer: bool, created: str | None = None) -> History:
    """Make a history entry of this builder."""
    return History(created, created_by, COMMENT, "", is_empty_layer)


def go_quote(text: str) -> str:
    """Quote a string as Go's `%q` does."""
    return f'"{"".join(_quoted(character) for character in text)}"'


def quoted_list(words: Iterable[str]) -> str:
    """Write a list as Go's `%q`: `["a" "b"]`."""
    return f"[{' '.join(map(go_quote, words))}]"


def plain_list(words: Iterable[str]) -> str:
    """Write a list as Go's `%v`: `[a b]`."""
    return f"[{' '.join(words)}]"


def duration(nanoseconds: int) -> str:
    """Write a duration as Go does: `1m30s`, `1.5ms`, `0s`."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest < _SECOND:
        unit, size = next(u for u in reversed(_UNITS) if rest >= u[1])
        return f"{sign}{_decimal(rest, size)}{unit}"
    minutes, rest = divmod(rest, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, _SECOND)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{sign}{hours}h{text}" if hours else sign + text


def healthcheck(health: Healthcheck) -> str:
    """Write a health check as Go's `%+v` of its struct."""
    return (
        f"HEALTHCHECK {{Test:{plain_list(health.test)} Interval:{duration(health.interval_ns)}"
        f" Timeout:{duration(health.timeout_ns)} StartPeriod:{duration(health.start_period_ns)}"
        f" StartInterval:{duration(health.start_interval_ns)} Retries:{health.retries}}}"
    )


def run(argv: Sequence[str], declared: Mapping[str, str], env: Mapping[str, str]) -> str:
    """Write a RUN with the declared arguments before it: `RUN |1 A=b /bin/sh -c true`.

    What an ENV of the same name says goes before the declared value.
    """
    arguments = [f"{name}={env.get(name, value)}" for name, value in declared.items()]
    if arguments:
        arguments.insert(0, f"|{len(arguments)}")
    return " ".join(("RUN", *arguments, *argv))


def copy(keyword: str, flags: Iterable[tuple[str, str | None]], words: Iterable[str]) -> str:
    """Write a COPY or ADD: flags that have a value, then sources, here-documents, destination."""
    written = (f"--{name}={value}" if value is not None else f"--{name}" for name, value in flags)
    return " ".join((keyword, *written, *words))


def description(vertex: Vertex) -> str:
    """Describe the layer of a vertex that has no instruction of its own in the history."""
    if isinstance(vertex.op, Exec):
        return f"mount / from exec {' '.join(vertex.op.argv)}"
    return vertex.name


def _quoted(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    code = ord(character)
    if character.isprintable():
        return character
    if code in _SURROGATES:  # a byte that is not UTF-8, by surrogateescape
        return f"\\x{code - _ESCAPED_BYTE:02x}"
    if code < _ASCII_END:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _BMP_END else f"\\U{code:08x}"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    if not rest:
        return str(whole)
    digits = len(str(size)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")
