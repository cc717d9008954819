"""Parser directives: `# syntax=`, `# escape=`, `# check=` at the top of a file."""

import re
from typing import Literal

from builder.errors import DockerfileError
from builder.source import Span
from builder.values import NamedTuple

Escape = Literal["\\", "`"]
_FORM = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_NAMES = ("syntax", "escape", "check")


class Directives(NamedTuple):
    """What the directives say; None for those that are not there."""

    escape: Escape = "\\"
    syntax: str | None = None
    check: str | None = None
    check_span: Span | None = None
    seen: frozenset[str] = frozenset()


def read_directive(comment: str, before: Directives, span: Span) -> Directives | None:
    """Read a comment at the top as a directive; None if it is an ordinary comment.

    Raises DockerfileError for a repeated directive or an impossible escape character.
    """
    found = _FORM.match(comment.rstrip("\r"))
    if found is None or found[1].lower() not in _NAMES:
        return None
    name, value = found[1].lower(), found[2]
    if name in before.seen:
        raise DockerfileError(
            f"only one {name} parser directive can be used", span=span, fix="remove one of them"
        )
    seen = before.seen | {name}
    if name == "syntax":
        return before._replace(syntax=value, seen=seen)
    if name == "check":
        return before._replace(check=value, check_span=span, seen=seen)
    if value not in ("\\", "`"):
        raise DockerfileError(
            f"invalid escape token {value!r} does not match ` or \\",
            span=span,
            fix="the escape character is \\ or `",
        )
    return before._replace(escape="`" if value == "`" else "\\", seen=seen)
