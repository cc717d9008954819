"""The stages of a build as a graph: what each stands on, copies from, and which are needed.

Names are resolved here: a stage, else a named context, else an image. Nothing is lowered yet.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from builder.dockerfile.instructions import Add, Copy, Instruction, Run, Workdir
from builder.dockerfile.mounts import InvalidMount, mount_source
from builder.dockerfile.request import BuildRequest, NamedContext
from builder.errors import DockerfileError, UsageError
from builder.oci.platform import Platform
from builder.oci.reference import parse_reference
from builder.source import Span
from builder.text import nearest
from builder.values import NamedTuple

SCRATCH = "scratch"
MAX_STAGES = 1000
_RESERVED = frozenset({SCRATCH, "context"})


class Command(NamedTuple):
    """An instruction with the stages that it copies or mounts from, by the names it uses."""

    instruction: Instruction
    sources: tuple[tuple[str, "Node"], ...] = ()
    is_trigger: bool = False


class Node:
    """A stage, or an image that is copied from; the graph is made of them."""

    __slots__ = ("base", "base_name", "commands", "context", "index", "name", "platform", "span",
                 "total", "used_args")  # fmt: skip

    def __init__(self, index: int, name: str, base_name: str, span: Span) -> None:
        """Begin without base, commands and platform; `index` is -1 for an image."""
        self.index = index
        self.name = name
        self.base_name = base_name
        self.span = span
        self.base: Node | None = None
        self.context: NamedContext | None = None
        self.platform: Platform | None = None
        self.commands: list[Command] = []
        self.total = 0
        self.used_args: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """Give the name that steps show."""
        return self.name or f"stage-{self.index}"

    @property
    def is_stage(self) -> bool:
        """Say whether it is written in the Dockerfile."""
        return self.index >= 0


_Edge = tuple[Node, Span, str]
"""What a stage copies from, where, and by which name."""


class Graph:
    """The stages of a file with their edges, and the images that are copied from."""

    def __init__(self, request: BuildRequest) -> None:
        """Begin without stages."""
        self.request = request
        self.stages: list[Node] = []
        self._by_name: dict[str, Node] = {}
        self._images: dict[str, Node] = {}

    def add(self, node: Node) -> None:
        """Add a stage: an earlier one of its base's name is what it stands on."""
        if node.context is None:
            node.base = self._named(node.base_name) or self._by_name.get(node.base_name)
        elif node.context.kind == "stage":
            node.base = self._by_name.get(node.context.location.lower())
        self.stages.append(node)
        if node.name:
            self._by_name[node.name] = node

    def command(self, instruction: Instruction, *, is_trigger: bool = False) -> Command:
        """Resolve what an instruction copies or mounts from."""
        names = dict.fromkeys(_source_names(instruction))
        sources = tuple((name, self.find(name, instruction.span)) for name in names)
        return Command(instruction, sources, is_trigger)

    def find(self, name: str, span: Span) -> Node:
        """Find a stage by name or number, else make it an image of that name.

        Raises DockerfileError.
        """
        if name.isascii() and name.isdigit():
            if int(name) < len(self.stages):
                return self.stages[int(name)]
            raise DockerfileError(
                f"invalid stage index {name}",
                fix=f"there are {len(self.stages)} stages, counted from 0",
                span=span,
                word=name,
            )
        known = self._named(name) or self._by_name.get(name.lower())
        if known is not None:
            return known
        return self._images.setdefault(name, Node(-1, "", name, span))

    def _named(self, name: str) -> Node | None:
        """Find the stage that a named context stands for."""
        context = named_context(self.request, name, self.request.platform)
        if context is None or context.kind != "stage":
            return None
        return self._by_name.get(context.location.lower())

    def target(self) -> Node:
        """Find the stage to build: by name, else the last; raise UsageError."""
        name = self.request.target
        if not name:
            return self.stages[-1]
        found = self._by_name.get(name.lower())
        if found is None:
            near = nearest(name, self.names())
            raise UsageError(
                f'target stage "{name}" could not be found',
                fix=f"did you mean {near}?" if near else "name one of the stages",
            )
        return found

    def names(self) -> list[str]:
        """List the names of all stages as steps show them."""
        return [node.title for node in self.stages]

    def title(self, node: Node) -> str:
        """Give the name that steps of a stage show: none if there is only that stage."""
        return "" if len(self.stages) + len(self._images) == 1 else node.title

    def reachable(self, roots: Iterable[Node]) -> list[Node]:
        """List what some stages need, themselves included; stages come in file order."""
        found: dict[int, Node] = {}
        pending = list(roots)
        while pending:
            node = pending.pop()
            if id(node) not in found:
                found[id(node)] = node
                pending.extend(_edges(node))
        return sorted(found.values(), key=lambda node: node.index)


def named_context(request: BuildRequest, name: str, platform: Platform) -> NamedContext | None:
    """Find the context that `--build-context` gave for a name, for one platform or for all."""
    if not request.contexts or name.lower() in _RESERVED:
        return None
    known = {_familiar(context.name): context for context in request.contexts}
    familiar = _familiar(name)
    return known.get(f"{familiar}::{platform}") or known.get(familiar)


def check_cycles(graph: Graph) -> None:
    """Raise DockerfileError if stages copy from each other in a ring."""
    done: set[int] = set()
    for start in graph.stages:
        path: list[tuple[Node, Iterator[_Edge]]] = [(start, _copied_from(start))]
        on_path = {id(start)}
        while path:
            node, edges = path[-1]
            source, span, name = next(edges, (None, node.span, ""))
            if source is None:
                on_path.discard(id(node))
                done.add(id(node))
                path.pop()
            elif id(source) in on_path:
                raise DockerfileError(
                    f"circular dependency detected on stage: {start.title}",
                    fix="copy only from stages above",
                    span=span,
                    word=name,
                )
            elif id(source) not in done:
                on_path.add(id(source))
                path.append((source, _copied_from(source)))


def steps_of(node: Node, instructions: Iterable[Instruction]) -> int:
    """Count the numbered steps of a stage: its image, and what makes layers."""
    layered = (Add, Copy, Run, Workdir)
    numbered = sum(isinstance(instruction, layered) for instruction in instructions)
    return numbered + (node.base is None and node.base_name != SCRATCH)


def _source_names(instruction: Instruction) -> Iterator[str]:
    try:
        if isinstance(instruction, Copy) and instruction.from_name:
            yield _constant(instruction.from_name, instruction.span)
        elif isinstance(instruction, Run):
            yield from filter(None, map(mount_source, instruction.mounts))
    except InvalidMount as error:
        raise DockerfileError(str(error), fix=error.fix, span=instruction.span) from None


def _constant(name: str, span: Span) -> str:
    if "$" in name:
        raise DockerfileError(
            "variable expansion is not supported for --from, define a new stage with FROM using"
            " ARG from global scope as a workaround",
            fix="write FROM $VARIABLE AS name, and --from=name here",
            span=span,
            word=name,
        )
    return name


def _edges(node: Node) -> Iterator[Node]:
    if node.base is not None:
        yield node.base
    for command in node.commands:
        for _name, source in command.sources:
            yield source


def _copied_from(node: Node) -> Iterator[_Edge]:
    for command in node.commands:
        for name, source in command.sources:
            yield source, command.instruction.span, name


def _familiar(name: str) -> str:
    base, separator, platform = name.partition("::")
    with suppress(UsageError):  # the error comes when the name is used as an image
        base = parse_reference(base).familiar.removesuffix(":latest")
    return f"{base}{separator}{platform}"
