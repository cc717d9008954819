"""Parse a Dockerfile: text to logical lines, to syntax nodes, to typed instructions in stages."""

from collections.abc import Sequence
from functools import partial

from builder.dockerfile.construct import check_form, construct
from builder.dockerfile.directives import Directives
from builder.dockerfile.instructions import Arg, From, Heredoc, Instruction
from builder.dockerfile.lines import Lines, LogicalLine
from builder.dockerfile.nodes import read_nodes
from builder.dockerfile.parsed import Parsed
from builder.dockerfile.syntax import Node, Word
from builder.errors import DockerfileError
from builder.source import Position, Source, Span
from builder.values import NamedTuple


class Stage(NamedTuple):
    """A FROM and what follows it, up to the next."""

    from_: From
    instructions: tuple[Instruction, ...]


class Dockerfile(NamedTuple):
    """A parsed file."""

    source: Source
    directives: Directives
    global_args: tuple[Arg, ...]
    """The ARG instructions before the first FROM."""
    stages: tuple[Stage, ...]
    """At least one."""
    empty_continuations: tuple[Span, ...] = ()
    """Instructions that go on over an empty line."""


class Line(NamedTuple):
    """A logical line with its syntax node: what the reference calls a node of the tree."""

    line: LogicalLine
    parsed: Parsed


def parse(source: Source, *, cache_dir: str | None = None) -> Dockerfile:
    """Parse a whole file; raise DockerfileError at the place that is wrong.

    `cache_dir` may keep syntax nodes of texts seen before; nothing in it is trusted for more.
    """
    lines, nodes = parse_nodes(source, cache_dir=cache_dir)
    instructions = [construct(node.parsed) for node in _in_stages(nodes)]
    global_args, stages = _stages(instructions)
    empty = tuple(node.parsed.span for node in nodes if node.line.has_empty_continuation)
    return Dockerfile(source, lines.directives, global_args, stages, empty)


def parse_nodes(source: Source, *, cache_dir: str | None = None) -> tuple[Lines, list[Line]]:
    """Parse to syntax nodes only, with the checks that the reference's parser makes."""
    lines, nodes = read_nodes(source, cache_dir=cache_dir)
    parsed = [
        Line(line, _parsed(lines, line, node))
        for line, node in zip(lines.lines, nodes, strict=True)
    ]
    for one in parsed:
        check_form(one.parsed)
        if one.parsed.node.rule == "onbuild" and _may_be_malformed(one.parsed.text):
            _check_trigger(one.parsed, lines.directives.escape)
    return lines, parsed


def parse_trigger(text: str, span: Span, escape: str = "\\") -> Instruction:
    """Parse one ONBUILD trigger of an image; every place is the given span's.

    Raises DockerfileError.
    """
    first, _, bodies = text.partition("\n")
    source = Source(span.source.name, f"# escape={escape}\n{first}\n{bodies}\n")
    try:
        _lines, [node] = parse_nodes(source)
        parsed = node.parsed._replace(span=span, place=lambda _word: span)
        return construct(parsed)
    except (DockerfileError, ValueError) as error:
        what = error.what if isinstance(error, DockerfileError) else "not one instruction"
        raise DockerfileError(f"ONBUILD trigger {first!r}: {what}", span=span) from None


def _may_be_malformed(trigger: str) -> bool:
    """Tell whether a trigger's form has to be checked: most need no second pass of the parser."""
    keyword, *words = trigger.split() or [""]
    if keyword.upper() in {"ENV", "LABEL"}:
        return not all("=" in word for word in words)
    return "[" in trigger and "<<" not in trigger and keyword.upper() != "ONBUILD"


def _check_trigger(parsed: Parsed, escape: str) -> None:
    """Refuse a trigger that the reference's parser refuses where it is written."""
    try:
        parse_nodes(Source(parsed.span.source.name, f"# escape={escape}\n{parsed.text}\n"))
    except DockerfileError as error:
        raise parsed.fail(error.what, fix=error.fix, word=error.word) from None


def _parsed(lines: Lines, line: LogicalLine, node: Node) -> Parsed:
    heredocs = tuple(
        Heredoc(doc.name, doc.text, doc.content, doc.is_expanded, doc.is_chomped)
        for doc in line.heredocs
    )
    place = partial(_place, lines, line)
    original = line.text.strip()
    return Parsed(node, lines.span(line), original, line.comments, heredocs, place, line.trailing)


def _place(lines: Lines, line: LogicalLine, word: Word) -> Span:
    start = line.position(word.offset)
    last = line.position(word.offset + max(len(word.text) - 1, 0))
    return Span(lines.source, start, Position(last.line, last.column + 1))


def _in_stages(nodes: Sequence[Line]) -> Sequence[Line]:
    """Refuse a file in which something other than ARG comes before the first FROM."""
    for node in nodes:
        if node.parsed.node.rule == "from":
            break
        instruction = construct(node.parsed)
        if not isinstance(instruction, Arg):
            raise DockerfileError(
                "no build stage in current context",
                span=node.parsed.span,
                fix="begin with FROM; only ARG may stand before it",
            )
    return nodes


def _stages(
    instructions: Sequence[Instruction],
) -> tuple[tuple[Arg, ...], tuple[Stage, ...]]:
    global_args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for instruction in instructions:
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
    return tuple(global_args), tuple(Stage(first, tuple(rest)) for first, rest in stages)
