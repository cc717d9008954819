"""What a file offers and asks for: its targets, and a target's arguments, secrets and agents.

A comment right above a FROM or ARG that begins with the name is its description.
"""

from collections.abc import Iterable, Iterator

from builder.dockerfile.checks import file_checks
from builder.dockerfile.instructions import Arg
from builder.dockerfile.lowering import Lowering
from builder.dockerfile.parser import Dockerfile
from builder.dockerfile.platforms import automatic_args
from builder.dockerfile.request import BuildRequest, Needs, Pins
from builder.dockerfile.scope import Resolution
from builder.graph.ops import CacheMount, Exec, SecretMount, SshMount
from builder.graph.walk import topological
from builder.source import Span
from builder.values import NamedTuple


class Target(NamedTuple):
    """A stage that may be built by name; the default one is the last."""

    name: str
    base: str
    platform: str
    description: str
    is_default: bool
    span: Span


class Argument(NamedTuple):
    """An argument that a target uses; `value` is what it has in this build, None for none."""

    name: str
    value: str | None
    description: str
    span: Span


class Demand(NamedTuple):
    """A secret, an SSH agent or a cache mount that a target's steps ask for."""

    name: str
    is_required: bool
    span: Span | None


class Outline(NamedTuple):
    """A target and what a build of it can be given."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    secrets: tuple[Demand, ...]
    agents: tuple[Demand, ...]
    caches: tuple[Demand, ...]


def targets(dockerfile: Dockerfile) -> tuple[Target, ...]:
    """List the stages of a file as they are written, nothing expanded."""
    last = len(dockerfile.stages) - 1
    return tuple(
        Target(
            stage.from_.name,
            stage.from_.image,
            stage.from_.platform,
            description(stage.from_.comments, stage.from_.name),
            index == last,
            stage.from_.span,
        )
        for index, stage in enumerate(dockerfile.stages)
    )


def outline(dockerfile: Dockerfile, request: BuildRequest, pins: Pins) -> Outline | Needs:
    """Describe the target: what its stages, and those that it needs, use."""
    lowering = Lowering(dockerfile, Resolution.of(request, pins), file_checks(dockerfile, request))
    lowering.lower([lowering.target])
    missing = lowering.resolution.needs.missing()
    if missing is not None:
        return missing
    steps = topological([lowering.state(lowering.target).root])
    mounts = [
        (mount, vertex.span)
        for vertex in steps
        if isinstance(vertex.op, Exec)
        for mount in vertex.op.mounts
    ]
    own = dockerfile.stages[lowering.target.index].from_
    return Outline(
        own.name,
        description(own.comments, own.name),
        tuple(_arguments(dockerfile, lowering)),
        _each_once(Demand(m.id, m.is_required, s) for m, s in mounts if isinstance(m, SecretMount)),
        _each_once(Demand(m.id, m.is_required, s) for m, s in mounts if isinstance(m, SshMount)),
        _each_once(Demand(m.id, False, s) for m, s in mounts if isinstance(m, CacheMount)),  # noqa: FBT003
    )


def description(comments: Iterable[str], name: str) -> str:
    """Find the text that describes a name in the comments above it; empty if none does."""
    for comment in comments:
        if name and comment.startswith(f"{name} "):
            return comment.removeprefix(name).strip()
    return ""


def _arguments(dockerfile: Dockerfile, lowering: Lowering) -> Iterator[Argument]:
    """List the arguments in use: global ones that reach a stage, then those of the stages."""
    nodes = lowering.lowered_stages()
    used = frozenset().union(*(node.used_args for node in nodes))
    declared: dict[str, str] = {}
    local: list[tuple[str, Arg]] = []
    for node in nodes:
        declared |= lowering.state(node).declared
        for command in node.commands:
            instruction = command.instruction
            if isinstance(instruction, Arg):
                local += [(name, instruction) for name, _default in instruction.pairs]
    automatic = automatic_args(lowering.resolution.request, "")
    seen: set[str] = set(automatic)
    for instruction in dockerfile.global_args:
        for name, _default in instruction.pairs:
            if name in used | declared.keys() and name not in seen:
                seen.add(name)
                yield _argument(name, lowering.global_args.get(name), instruction)
    for name, instruction in local:
        if name not in seen:
            seen.add(name)
            yield _argument(name, declared.get(name) or None, instruction)


def _argument(name: str, value: str | None, instruction: Arg) -> Argument:
    return Argument(name, value, description(instruction.comments, name), instruction.span)


def _each_once(demands: Iterable[Demand]) -> tuple[Demand, ...]:
    found: dict[str, Demand] = {}
    for demand in demands:
        known = found.setdefault(demand.name, demand)
        found[demand.name] = known._replace(is_required=known.is_required or demand.is_required)
    return tuple(found.values())
