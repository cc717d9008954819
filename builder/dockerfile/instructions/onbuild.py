"""ONBUILD: stores an instruction for builds on top of the image."""

import re
from typing import Self

from builder.dockerfile.parsed import BLANKS, Parsed
from builder.source import Span
from builder.values import NamedTuple


class Onbuild(NamedTuple):
    """ONBUILD as written: `text` is the trigger on one line, bodies of heredocs appended after it.

    Blanks at the end of the line are kept, as the reference keeps them in the image.

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
        written = re.split(f"[{BLANKS}]", parsed.text, maxsplit=1)[0]
        trigger = written.upper()
        fix = "write the instruction that is to run later"
        if trigger == "ONBUILD":
            what = "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
            raise parsed.fail(what, fix=fix, word=written)
        if trigger in ("MAINTAINER", "FROM"):
            what = f"{trigger} isn't allowed as an ONBUILD trigger"
            raise parsed.fail(what, fix=fix, word=written)
        bodies = "".join(f"\n{heredoc.raw}{heredoc.name}" for heredoc in parsed.heredocs)
        return cls(*parsed.head, parsed.text + parsed.trailing + bodies, trigger)
