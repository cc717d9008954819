"""Here-documents: text that follows an instruction and belongs to it."""

from builder.values import NamedTuple


class Heredoc(NamedTuple):
    r"""One `<<NAME` of an instruction with the body that follows.

    `raw` is the body as written; `content` is without leading tabs if `is_chomped` (`<<-`).
    Both end with a line feed unless they are empty. `is_expanded`: the delimiter had no quotes, so
    that COPY and ADD expand variables in the content, with `\` as the escape character
    whatever the directive says, and quotes kept.
    """

    name: str
    content: str
    raw: str
    is_expanded: bool = True
    is_chomped: bool = False
