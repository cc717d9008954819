"""FROM: begins a stage on an image, another stage, or nothing."""

import re
from typing import Self

from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*\Z")
_NAMED = ("image", "AS", "name")


class From(NamedTuple):
    """FROM as written.

    `image` and `platform` (empty if not given) are to be expanded with global arguments only.
    `name` is lower-cased and empty for a stage without one; `name_written` and `as_written` keep
    the spelling, for lint rules.
    """

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    image: str
    platform: str = ""
    name: str = ""
    name_written: str = ""
    as_written: str = ""

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        flags = parsed.flags({"platform": "text"})
        words = [word.text for word in parsed.node.body]
        if len(words) == 1:
            return cls(*parsed.head, words[0], flags.text("platform"))
        if len(words) != len(_NAMED) or words[1].lower() != "as":
            raise parsed.fail(
                "FROM requires either one or three arguments", fix="write FROM image [AS name]"
            )
        image, as_written, name = words
        if not _STAGE_NAME.match(name.lower()):
            raise parsed.fail(
                f'invalid name for build stage: "{name}", name can\'t start with a number or'
                " contain symbols",
                fix="begin with a letter; then letters, digits, and - _ . may follow",
                word=name,
            )
        return cls(*parsed.head, image, flags.text("platform"), name.lower(), name, as_written)
