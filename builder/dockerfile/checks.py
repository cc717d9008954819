"""The build checks that need no fold: what can be told from the text of a file alone."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from builder.dockerfile.arguments import declared_names, global_args
from builder.dockerfile.expansion import in_place
from builder.dockerfile.instructions import (
    Arg,
    Cmd,
    Entrypoint,
    From,
    Healthcheck,
    Instruction,
    Maintainer,
    Onbuild,
    Run,
)
from builder.dockerfile.parser import Dockerfile, Stage, parse_trigger
from builder.dockerfile.platforms import automatic_args
from builder.dockerfile.request import BuildRequest, build_arg
from builder.dockerfile.rules import (
    CONSISTENT_CASING,
    DESCRIPTION,
    DUPLICATE_STAGE_NAME,
    FROM_AS_CASING,
    INVALID_DEFAULT_ARG,
    JSON_BROKEN,
    MAINTAINER_DEPRECATED,
    NO_EMPTY_CONTINUATION,
    RESERVED_STAGE_NAME,
    STAGE_NAME_CASING,
    UNUSED_BUILD_ARG,
    Checks,
    InvalidCheckOption,
    check_options,
    did_you_mean,
)
from builder.dockerfile.words import SHELL
from builder.errors import DockerfileError, UsageError
from builder.ignore import IgnoreMatcher
from builder.oci.reference import parse_reference

CONTROL_ARG = "BUILDKIT_DOCKERFILE_CHECK"
_RESERVED = frozenset({"context", "scratch"})
_PREDEFINED = frozenset(
    {"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy", "source_date_epoch"}
)
_ROOT_PATTERNS = frozenset({"*", "**", "**/*"})


def file_checks(dockerfile: Dockerfile, request: BuildRequest) -> Checks:
    """Begin to collect warnings, by the file's `check` directive or the build argument's.

    Raises DockerfileError or UsageError.
    """
    given = build_arg(request, CONTROL_ARG)
    try:
        return Checks(check_options(given or dockerfile.directives.check or ""))
    except InvalidCheckOption as error:
        what, fix = f"failed to parse check options: {error}", "write skip=A,B;error=true"
        if given:
            raise UsageError(f"{CONTROL_ARG}: {what}", fix=fix) from None
        span = dockerfile.directives.check_span
        raise DockerfileError(what, fix=fix, span=span) from None


def check_file(dockerfile: Dockerfile, request: BuildRequest, checks: Checks) -> None:
    """Report what the text alone tells, in the order of the reference."""
    for span in dockerfile.empty_continuations:
        checks.report(NO_EMPTY_CONTINUATION, "Empty continuation line", span)
    for instruction in _instructions(dockerfile):
        _check_instruction(instruction, checks.below(instruction.comments))
    _check_names(dockerfile.stages, checks)
    _check_casing(dockerfile.stages, checks)
    _check_defaults(dockerfile, request, checks)


def ignored_paths(request: BuildRequest) -> Callable[[str], bool] | None:
    """Tell which paths the context's ignore file leaves out.

    None if it has none, or has exceptions: below an ignored directory these may bring files back.
    """
    patterns = request.context.patterns
    if request.context.kind != "directory" or not patterns:
        return None
    matcher = IgnoreMatcher(patterns)
    if matcher.has_exceptions:
        return None

    def is_ignored(path: str) -> bool:
        return matcher.is_ignored(path) if path else bool(_ROOT_PATTERNS.intersection(patterns))

    return is_ignored


def _instructions(dockerfile: Dockerfile) -> Iterator[Instruction]:
    yield from dockerfile.global_args
    for stage in dockerfile.stages:
        yield stage.from_
        yield from stage.instructions


def _check_instruction(instruction: Instruction, checks: Checks) -> None:
    match instruction:
        case From():
            _check_from(instruction, checks)
        case Arg():
            names = [name for name, _default in instruction.pairs]
            _check_description(instruction, names, checks)
        case Maintainer():
            checks.report(
                MAINTAINER_DEPRECATED,
                "Maintainer instruction is deprecated in favor of using label",
                instruction.span,
            )
        case Run() | Cmd() | Entrypoint() | Healthcheck():
            if instruction.is_json_broken:
                checks.report(
                    JSON_BROKEN,
                    f"{instruction.keyword} begins like a JSON array, but is none: it is run by"
                    " the shell as it is",
                    instruction.span,
                )
        case _:
            pass


def _check_from(instruction: From, checks: Checks) -> None:
    keyword, as_written = instruction.keyword, instruction.as_written
    is_lower_apart = keyword == keyword.lower() and as_written != as_written.lower()
    if is_lower_apart or (keyword == keyword.upper() and as_written != as_written.upper()):
        checks.report(
            FROM_AS_CASING,
            f"'{as_written}' and '{keyword}' keywords' casing do not match",
            instruction.span,
        )
    if instruction.name != instruction.name_written:
        checks.report(
            STAGE_NAME_CASING,
            f"Stage name '{instruction.name_written}' should be lowercase",
            instruction.span,
        )
    if instruction.name:
        _check_description(instruction, [instruction.name], checks)


def _check_description(instruction: From | Arg, names: list[str], checks: Checks) -> None:
    if not instruction.comments or not names:
        return
    if instruction.comments[-1].split(" ")[0] in names:
        return
    example = names[0] if len(names) == 1 else "<arg_key>"
    keyword = "FROM" if isinstance(instruction, From) else "ARG"
    checks.report(
        DESCRIPTION,
        f"Comment for {keyword} should follow the format: `# {example} <description>`",
        instruction.span,
    )


def _check_names(stages: Iterable[Stage], checks: Checks) -> None:
    seen: set[str] = set()
    for stage in stages:
        name, span = stage.from_.name, stage.from_.span
        local = checks.below(stage.from_.comments)
        if name in _RESERVED:
            local.report(
                RESERVED_STAGE_NAME,
                f'Stage name should not use the same name as reserved stage "{name}"',
                span,
            )
        if name and name in seen:
            local.report(
                DUPLICATE_STAGE_NAME,
                f'Duplicate stage name "{name}", stage names should be unique',
                span,
            )
        seen.add(name)


def _check_casing(stages: Iterable[Stage], checks: Checks) -> None:
    written: list[Instruction] = []
    for stage in stages:
        written += (stage.from_, *stage.instructions)
    lower = sum(instruction.keyword == instruction.keyword.lower() for instruction in written)
    upper = sum(instruction.keyword == instruction.keyword.upper() for instruction in written)
    wanted = "lowercase" if lower > upper else "uppercase"
    for instruction in written:
        keyword = instruction.keyword
        if keyword != (keyword.lower() if lower > upper else keyword.upper()):
            checks.below(instruction.comments).report(
                CONSISTENT_CASING,
                f"Command '{keyword}' should match the case of the command majority ({wanted})",
                instruction.span,
            )


def _declared(instruction: Instruction) -> Iterator[str]:
    """Name the arguments that an instruction declares, now or when it fires."""
    if isinstance(instruction, Onbuild) and instruction.trigger == "ARG":
        with suppress(DockerfileError):  # it fails when it fires
            yield from _declared(parse_trigger(instruction.text, instruction.span))
    elif isinstance(instruction, Arg):
        yield from (name for name, _default in instruction.pairs)


def _check_defaults(dockerfile: Dockerfile, request: BuildRequest, checks: Checks) -> None:
    escape = dockerfile.directives.escape
    automatic = automatic_args(request, request.target)
    try:
        values = global_args(dockerfile.global_args, automatic, {}, escape)
        for stage in dockerfile.stages:
            image = stage.from_.image
            style = SHELL._replace(escape=escape)
            name = in_place(image, values, style, stage.from_.span).text
            if not _is_reference(name):
                checks.below(stage.from_.comments).report(
                    INVALID_DEFAULT_ARG,
                    f"Default value for ARG {image} results in empty or invalid base image name",
                    stage.from_.span,
                )
    except DockerfileError:
        return  # the build itself fails on it, unless a build argument helps


def _is_reference(name: str) -> bool:
    try:
        parse_reference(name)
    except UsageError:
        return False
    return True


def check_build_args(
    dockerfile: Dockerfile, request: BuildRequest, fired: Iterable[Instruction], checks: Checks
) -> None:
    """Report build arguments that neither the file nor a trigger declares, fired or stored."""
    if not request.build_args:
        return
    declared = set(declared_names(dockerfile.global_args))
    written = (found for stage in dockerfile.stages for found in stage.instructions)
    for instruction in (*written, *fired):
        declared.update(_declared(instruction))
    known = declared | automatic_args(request, request.target).keys()
    for name in dict(request.build_args):
        if name in known or name.lower() in _PREDEFINED or name.startswith("BUILDKIT_"):
            continue
        suggestion = did_you_mean(name, declared)
        message = f"Build argument {name} is not declared by any ARG{suggestion}"
        checks.report(UNUSED_BUILD_ARG, message, dockerfile.stages[0].from_.span)
