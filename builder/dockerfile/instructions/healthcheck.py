"""HEALTHCHECK: sets how to ask whether a container works."""

import re
from typing import Self

from builder.dockerfile.durations import InvalidDuration, duration_ns
from builder.dockerfile.flags import Flags, Kind
from builder.dockerfile.parsed import Parsed
from builder.oci import config as oci
from builder.source import Span
from builder.values import NamedTuple

_FLAGS: dict[str, Kind] = {
    "interval": "text",
    "timeout": "text",
    "start-period": "text",
    "start-interval": "text",
    "retries": "text",
}
_MIN_INTERVAL_NS = 10**6
_NONE = ("NONE",)


class Healthcheck(NamedTuple):
    """HEALTHCHECK, complete: nothing in it is expanded."""

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    health: oci.Healthcheck = oci.Healthcheck(())
    is_json_broken: bool = False
    """The command begins like a JSON array but is none."""

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        flags = parsed.flags(_FLAGS)
        kind = _kind(parsed)
        if not kind:
            raise parsed.at_least_one()
        words = parsed.exec_words
        test = _test(parsed, kind.upper())
        if test == _NONE:
            return cls(*parsed.head, oci.Healthcheck(test))
        health = oci.Healthcheck(
            test,
            interval_ns=_interval_ns(parsed, flags, "interval"),
            timeout_ns=_interval_ns(parsed, flags, "timeout"),
            start_period_ns=_interval_ns(parsed, flags, "start-period"),
            start_interval_ns=_interval_ns(parsed, flags, "start-interval"),
            retries=_retries(parsed, flags.text("retries")),
        )
        return cls(*parsed.head, health, words is None and parsed.is_json_broken)


def _kind(parsed: Parsed) -> str:
    """Give the word that says what follows, CMD or NONE, as it is spelt."""
    return next((word.text for word in parsed.node.body if word.kind == "KIND"), "")


def _test(parsed: Parsed, kind: str) -> tuple[str, ...]:
    words = parsed.exec_words
    if kind not in ("CMD", "NONE"):
        raise parsed.fail(
            f'unknown type "{kind}" in HEALTHCHECK (try CMD)',
            fix="write HEALTHCHECK CMD command",
            word=_kind(parsed),
        )
    if kind == "NONE":
        if words or parsed.text:
            raise parsed.fail(
                "HEALTHCHECK NONE takes no arguments",
                fix="write HEALTHCHECK NONE alone",
                word=parsed.text,
            )
        return _NONE
    if words:
        return ("CMD", *words)
    if not parsed.text:
        raise parsed.fail(
            "missing command after HEALTHCHECK CMD", fix="write the command, or HEALTHCHECK NONE"
        )
    return ("CMD-SHELL", parsed.text)


def _interval_ns(parsed: Parsed, flags: Flags, name: str) -> int:
    text = flags.text(name)
    if not text:
        return 0
    fix = "write it like 1m30s"
    try:
        value_ns = duration_ns(text)
    except InvalidDuration as error:
        raise parsed.fail(str(error), fix=fix, word=f"--{name}") from None
    if value_ns < 0:
        raise parsed.fail(f'Interval "{name}" cannot be negative', fix=fix, word=f"--{name}")
    if 0 < value_ns < _MIN_INTERVAL_NS:
        raise parsed.fail(f'Interval "{name}" cannot be less than 1ms', fix=fix, word=f"--{name}")
    return value_ns


def _retries(parsed: Parsed, text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise parsed.fail(
            f"--retries is not a number: {text}", fix="write a small whole number", word="--retries"
        )
    if int(text) < 0:
        raise parsed.fail(
            f"--retries cannot be negative ({int(text)})",
            fix="write a small whole number",
            word="--retries",
        )
    return int(text)
