"""RUN: runs a process in the stage."""

from typing import Self

from builder.dockerfile.flags import Flags, Kind
from builder.dockerfile.heredocs import parse_heredoc
from builder.dockerfile.instructions.heredoc import Heredoc
from builder.dockerfile.mounts import InvalidMount, mount_source
from builder.dockerfile.parsed import Parsed
from builder.errors import DockerfileError
from builder.source import Span
from builder.values import NamedTuple

_FLAGS: dict[str, Kind] = {
    "mount": "many",
    "network": "text",
    "security": "text",
    "device": "many",
}


class Run(NamedTuple):
    """RUN as written; nothing in it is expanded but the values inside `mounts`.

    In JSON form `words` holds the decoded array, else `text` the rest of the line as it is, with
    the `<<NAME` words still in it. `is_script`: the text is one `<<NAME` word and nothing else.
    `mounts` are the raw values of `--mount`, in order; their `from` is never expanded.
    """

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    text: str = ""
    words: tuple[str, ...] = ()
    is_json: bool = False
    is_json_broken: bool = False
    """The text begins like a JSON array but is none."""
    is_script: bool = False
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[str, ...] = ()
    network: str = ""
    security: str = ""
    devices: tuple[str, ...] = ()

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        flags = parsed.flags(_FLAGS)
        _check_mounts(parsed, flags)
        words = parsed.exec_words
        is_script = words is None and parse_heredoc(parsed.text) is not None
        return cls(
            *parsed.head,
            text=parsed.text,
            words=words or (),
            is_json=words is not None,
            is_json_broken=parsed.is_json_broken,
            is_script=is_script and len(parsed.heredocs) == 1,
            heredocs=parsed.heredocs,
            mounts=flags.many("mount"),
            network=flags.text("network"),
            security=flags.text("security"),
            devices=flags.many("device"),
        )


def _check_mounts(parsed: Parsed, flags: Flags) -> None:
    """Refuse what can be told of mounts before anything is expanded."""
    places = [word for word in parsed.node.flags if word.text.startswith("--mount")]
    for text, word in zip(flags.many("mount"), places, strict=False):
        try:
            mount_source(text)
        except InvalidMount as error:
            raise DockerfileError(
                str(error), fix=error.fix, span=parsed.place(word), word=error.word
            ) from None
