"""Building the graph of stages: FROM lines expanded, platforms read, edges drawn and checked."""

from collections.abc import Iterable, Mapping

from builder.dockerfile.expansion import in_place
from builder.dockerfile.history import go_quote
from builder.dockerfile.instructions import From
from builder.dockerfile.parser import Dockerfile
from builder.dockerfile.request import BuildRequest
from builder.dockerfile.rules import (
    CONSTANT_PLATFORM,
    REDUNDANT_PLATFORM,
    UNDEFINED_ARG_IN_FROM,
    Checks,
    did_you_mean,
)
from builder.dockerfile.stages import (
    MAX_STAGES,
    Graph,
    Node,
    check_cycles,
    named_context,
    steps_of,
)
from builder.dockerfile.words import SHELL, Expansion
from builder.errors import DockerfileError, UsageError
from builder.oci.platform import Platform, parse_platform


class Globals:
    """What FROM lines may use: values of global arguments, and names that have none."""

    __slots__ = ("escape", "known", "values")

    def __init__(self, values: Mapping[str, str], declared: Iterable[str], escape: str) -> None:
        """Keep the values, and all names that count as declared."""
        self.values = values
        self.known = frozenset(values).union(declared)
        self.escape = escape


def stage_graph(
    dockerfile: Dockerfile, request: BuildRequest, scope: Globals, checks: Checks
) -> Graph:
    """Make the graph of all stages; raise DockerfileError for names that lead nowhere."""
    graph = Graph(request)
    for index, stage in enumerate(dockerfile.stages):
        if index == MAX_STAGES:
            raise DockerfileError(
                f"the file has more than {MAX_STAGES} stages",
                fix="split it into several files",
                span=stage.from_.span,
            )
        node = _node(index, stage.from_, scope, checks.below(stage.from_.comments))
        if node.name:
            platform = node.platform or request.platform
            node.context = named_context(request, node.name, platform)
        graph.add(node)
        node.total = steps_of(node, stage.instructions)
    for node, stage in zip(graph.stages, dockerfile.stages, strict=True):
        node.commands = [graph.command(instruction) for instruction in stage.instructions]
    check_cycles(graph)
    return graph


def _node(index: int, instruction: From, scope: Globals, checks: Checks) -> Node:
    name = _expanded(instruction.image, instruction, scope, checks)
    if not name.text:
        raise DockerfileError(
            f"base name ({instruction.image}) should not be blank",
            fix="give the ARG a default before the first FROM, or --build-arg",
            span=instruction.span,
            word=instruction.image,
        )
    node = Node(index, instruction.name, name.text, instruction.span)
    node.used_args = name.matched
    if instruction.platform:
        found = _expanded(instruction.platform, instruction, scope, checks)
        node.used_args |= found.matched
        node.platform = _platform(found, instruction, scope, checks)
    return node


def _platform(found: Expansion, instruction: From, scope: Globals, checks: Checks) -> Platform:
    _report_redundant(found, instruction, scope, checks)
    near = "".join(did_you_mean(name, scope.values) for name in sorted(found.unmatched)[:1])
    if not found.text:
        raise DockerfileError(
            f"empty platform value from expression {instruction.platform}{near}",
            fix="write os/arch, or a variable that has a value",
            span=instruction.span,
            word=instruction.platform,
        )
    try:
        platform = parse_platform(found.text)
    except UsageError as error:
        reason = _component(found.text, error)
        raise DockerfileError(
            f"failed to parse platform {instruction.platform}: {reason}{near}",
            fix=error.fix,
            span=instruction.span,
            word=instruction.platform,
        ) from None
    if not (found.matched or found.unmatched):
        _report_constant(found.text, platform, instruction, checks)
    return platform


def _component(text: str, error: UsageError) -> str:
    """Name the part of a platform that is wrong, as the reference does."""
    for part in text.split("/"):
        if not part or not part.replace(".", "").replace("-", "").replace("_", "").isalnum():
            return (
                f'"{part}" is an invalid component of "{text}": platform specifier component must'
                ' match "^[A-Za-z0-9_.-]+$": invalid argument'
            )
    return error.what


def _expanded(text: str, instruction: From, scope: Globals, checks: Checks) -> Expansion:
    style = SHELL._replace(escape=scope.escape)
    found = in_place(text, scope.values, style, instruction.span)
    for name in sorted(found.unmatched - scope.known):
        suggestion = did_you_mean(name, sorted(scope.known))
        message = f"FROM argument '{name}' is not declared{suggestion}"
        checks.report(UNDEFINED_ARG_IN_FROM, message, instruction.span)
    return found


def _report_redundant(found: Expansion, instruction: From, scope: Globals, checks: Checks) -> None:
    is_only_target = found.matched == {"TARGETPLATFORM"} and not found.unmatched
    if is_only_target and found.text == scope.values.get("TARGETPLATFORM"):
        checks.report(
            REDUNDANT_PLATFORM,
            f"Setting platform to predefined {instruction.platform} in FROM is redundant as this"
            " is the default behavior",
            instruction.span,
        )


def _report_constant(text: str, platform: Platform, instruction: From, checks: Checks) -> None:
    if platform.os in instruction.name or platform.architecture in instruction.name:
        return
    checks.report(
        CONSTANT_PLATFORM,
        f"FROM --platform flag should not use constant value {go_quote(text)}",
        instruction.span,
    )
