"""SOURCE_DATE_EPOCH: the time of an image, as seconds or as the name of a source that has one.

A name means the main context, a named context, or a stage that consists of one remote ADD.
"""

from collections.abc import Mapping

from builder.dockerfile.expansion import in_place
from builder.dockerfile.git_source import GitSource
from builder.dockerfile.instructions import Add, Arg
from builder.dockerfile.parser import Dockerfile, Stage
from builder.dockerfile.remote import checksum_digest, git_of, is_url
from builder.dockerfile.request import (
    MAIN_CONTEXT,
    GitNeed,
    HttpNeed,
    NamedContext,
)
from builder.dockerfile.scope import Resolution
from builder.dockerfile.stages import SCRATCH, named_context
from builder.dockerfile.words import SHELL
from builder.errors import DockerfileError, UsageError
from builder.source import Span

NAME = "SOURCE_DATE_EPOCH"
_MAX_DIGITS = 15


def epoch_s(
    value: str, dockerfile: Dockerfile, global_args: Mapping[str, str], resolution: Resolution
) -> int | None:
    """Find the time that a value stands for; None if its source has none, or is not pinned yet.

    Raises UsageError.
    """
    number = value.removeprefix("-")
    if number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS:
        return int(value)
    if value == MAIN_CONTEXT:
        return resolution.request.context_epoch_s
    context = named_context(resolution.request, value, resolution.request.platform)
    if context is not None:
        return _context_time(context, resolution)
    for stage in dockerfile.stages:
        if stage.from_.name == value.lower():
            return _stage_time(stage, dockerfile, global_args, resolution)
    raise UsageError(
        f"invalid SOURCE_DATE_EPOCH: {value}",
        fix="give seconds since 1970, or the name of a context or stage",
    )


def _context_time(context: NamedContext, resolution: Resolution) -> int | None:
    if context.kind == "git":
        source = git_of(context.location, None)
        return None if source is None else _commit_time(source, "", None, resolution)
    if context.kind == "http":
        return _download_time(context.location, "", None, resolution)
    return None


def _stage_time(
    stage: Stage, dockerfile: Dockerfile, global_args: Mapping[str, str], resolution: Resolution
) -> int | None:
    style = SHELL._replace(escape=dockerfile.directives.escape)
    variables = {name: text for name, text in global_args.items() if name != NAME}
    given = dict(resolution.request.build_args)
    found: Add | None = None
    if in_place(stage.from_.image, variables, style, stage.from_.span).text != SCRATCH:
        raise _unsuitable("SOURCE_DATE_EPOCH stage must use FROM scratch", stage.from_.span)
    for instruction in stage.instructions:
        if isinstance(instruction, Arg):
            for name, default in instruction.pairs:
                if name in given:
                    variables[name] = given[name]
                elif default is not None:
                    text = in_place(default, variables, style, instruction.span).text
                    variables[name] = text
        elif not isinstance(instruction, Add):
            raise _unsuitable(
                "SOURCE_DATE_EPOCH stage does not meet source-only requirements: unsupported"
                f" {instruction.keyword} instruction",
                stage.from_.span,
            )
        elif found is not None:
            raise _one_add(stage.from_.span)
        else:
            found = instruction
    if found is None:
        raise _one_add(stage.from_.span)
    words = [in_place(word, variables, style, found.span).text for word in found.sources]
    checksum = in_place(found.checksum, variables, style, found.span).text
    return _add_time(found, words, checksum, resolution)


def _add_time(add: Add, sources: list[str], checksum: str, resolution: Resolution) -> int | None:
    if add.heredocs or len(sources) != 1:
        raise _one_add(add.span)
    git = git_of(sources[0], add.span)
    if git is not None:
        return _commit_time(git, checksum, add.span, resolution)
    if is_url(sources[0]):
        return _download_time(sources[0], checksum, add.span, resolution)
    raise _unsuitable(
        "SOURCE_DATE_EPOCH stage source must be a single HTTP(S) or Git ADD", add.span
    )


def _commit_time(
    source: GitSource, checksum: str, span: Span | None, resolution: Resolution
) -> int | None:
    pin = resolution.pins.gits.get((source.remote, source.ref))
    if pin is None:
        expected = checksum or source.checksum
        resolution.needs.git(GitNeed(source.remote, source.ref, expected, span, wants_time=True))
        return None
    return pin.committed_s


def _download_time(
    url: str, checksum: str, span: Span | None, resolution: Resolution
) -> int | None:
    pin = resolution.pins.urls.get(url)
    if pin is None:
        wanted = checksum_digest(checksum, span) if checksum else None
        resolution.needs.url(HttpNeed(url, wanted, span))
        return None
    return pin.mtime_s or None


def _one_add(span: Span) -> DockerfileError:
    return _unsuitable("SOURCE_DATE_EPOCH stage must contain exactly one remote ADD", span)


def _unsuitable(what: str, span: Span) -> DockerfileError:
    return DockerfileError(what, fix="write FROM scratch and one ADD of a URL", span=span)
