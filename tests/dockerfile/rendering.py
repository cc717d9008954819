"""Parsed files as text: for golden files, and for parsing again."""

from collections.abc import Iterator

from builder.dockerfile.instructions import Heredoc, Instruction
from builder.dockerfile.parser import Dockerfile
from builder.source import Span

_HEAD = ("span", "keyword", "original", "comments")


def tree(dockerfile: Dockerfile) -> str:
    """Write every field that is not empty, an instruction a paragraph."""
    return "".join(f"{line}\n" for line in _tree(dockerfile))


def instructions_of(dockerfile: Dockerfile) -> Iterator[Instruction]:
    """List all instructions in the order of the file."""
    yield from dockerfile.global_args
    for stage in dockerfile.stages:
        yield stage.from_
        yield from stage.instructions


def printed(dockerfile: Dockerfile) -> str:
    """Write a file that parses to the same instructions, without continuations."""
    lines = [f"# escape={dockerfile.directives.escape}"]
    for instruction in instructions_of(dockerfile):
        lines.append("")
        lines += [f"# {comment}" for comment in instruction.comments]
        lines.append(instruction.original)
        for heredoc in getattr(instruction, "heredocs", ()):
            lines.append(f"{heredoc.raw}{heredoc.name}")
        if type(instruction).__name__ == "Onbuild":
            lines += getattr(instruction, "text", "").split("\n")[1:]
    return "".join(f"{line}\n" for line in lines)


def _tree(dockerfile: Dockerfile) -> Iterator[str]:
    directives = dockerfile.directives
    for name in ("escape", "syntax", "check"):
        value = getattr(directives, name)
        if value not in (None, "\\"):
            yield f"{name}: {value!r}"
    for span in dockerfile.empty_continuations:
        yield f"empty continuation: {_place(span)}"
    for instruction in instructions_of(dockerfile):
        yield f"{type(instruction).__name__} {_place(instruction.span)}"
        yield from _fields(instruction)


def _fields(instruction: Instruction) -> Iterator[str]:
    for comment in instruction.comments:
        yield f"  # {comment!r}"
    fields = instruction._asdict()
    for name, value in fields.items():
        if name in _HEAD or not value:
            continue
        if name != "heredocs":
            yield f"  {name}: {value!r}"
            continue
        for heredoc in value:
            yield from _heredoc(heredoc)


def _heredoc(heredoc: Heredoc) -> Iterator[str]:
    marks = " expanded" * heredoc.is_expanded + " chomped" * heredoc.is_chomped
    yield f"  heredoc {heredoc.name!r}{marks}: {heredoc.content!r}"
    if heredoc.raw != heredoc.content:
        yield f"    raw: {heredoc.raw!r}"


def _place(span: Span) -> str:
    return f"{span.start.line}:{span.start.column}-{span.end.line}:{span.end.column}"
