"""ONBUILD: stores an instruction for builds on top of the image."""

import re
from typing import Self

from builder.dockerfile.parsed import BLANKS, Parsed
from builder.source import Span
from builder.values import NamedTuple


class Onbuild(NamedTuple):
    """ONBUILD as written: `text` is the trigger on one line, bodies of heredocs appended after it.

    It is expanded when it fires; `parser.parse_trigger` reads it then.
    """

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    text: str = ""
    trigger: str = ""
    """The trigger's keyword, in capitals."""

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        parsed.flags({})
        if not parsed.text:
            raise parsed.at_least_one()
        trigger = re.split(f"[{BLANKS}]", parsed.text, maxsplit=1)[0].upper()
        fix = "write the instruction that is to run later"
        if trigger == "ONBUILD":
            raise parsed.fail("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", fix=fix)
        if trigger in ("MAINTAINER", "FROM"):
            raise parsed.fail(f"{trigger} isn't allowed as an ONBUILD trigger", fix=fix)
        bodies = "".join(f"\n{heredoc.raw}{heredoc.name}" for heredoc in parsed.heredocs)
        return cls(*parsed.head, parsed.text + bodies, trigger)
