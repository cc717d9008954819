"""One lowering: the graph of stages, their bases found, and each stage folded in file order.

Where a pin is missing, the stage and those on top of it stay open while all others go on, so that
every need that can be known is known at the end.
"""

from collections.abc import Iterable, Iterator
from functools import partial

from builder.dockerfile.arguments import declared_names, global_args
from builder.dockerfile.bases import Base, as_root, base_of, context_files
from builder.dockerfile.checks import ignored_paths
from builder.dockerfile.epoch import NAME as EPOCH
from builder.dockerfile.epoch import epoch_s
from builder.dockerfile.fold import applied
from builder.dockerfile.instructions import Add, Instruction, Onbuild, Run
from builder.dockerfile.parser import Dockerfile, parse_trigger
from builder.dockerfile.platforms import automatic_args
from builder.dockerfile.remote import is_url
from builder.dockerfile.request import HttpNeed, ImageNeed, ImagePin
from builder.dockerfile.rules import BASE_PLATFORM, Checks
from builder.dockerfile.scope import Files, Resolution, Scope
from builder.dockerfile.stage_graph import Globals, stage_graph
from builder.dockerfile.stages import Command, Node
from builder.dockerfile.state import StageState, first_state, restarted
from builder.errors import DockerfileError
from builder.graph import ops
from builder.graph.vertex import Vertex
from builder.oci.platform import normalized
from builder.source import Span

_PENDING = Files(Vertex(ops.Scratch()), is_context=False)
"""Stands for files that wait for a pin; graphs with it are never built."""


class Lowering:
    """Folds the stages that some roots need, once each."""

    def __init__(self, dockerfile: Dockerfile, resolution: Resolution, checks: Checks) -> None:
        """Draw the graph of stages; raise DockerfileError or UsageError if that is impossible."""
        request = resolution.request
        self.resolution = resolution
        self._dockerfile = dockerfile
        self._checks = checks
        self._escape = dockerfile.directives.escape
        self._build_args = dict(request.build_args)
        if not dockerfile.stages:
            raise DockerfileError(
                "dockerfile contains no stages to build",
                span=dockerfile.global_args[-1].span,
                fix="write FROM below the ARG instructions",
            )
        last_name = dockerfile.stages[-1].from_.name
        automatic = automatic_args(request, request.target or last_name)
        declared = dockerfile.global_args
        values = global_args(declared, automatic, self._build_args, self._escape)
        self.epoch_s = self._take_epoch(values)
        self.global_args = values
        names = Globals(values, declared_names(declared), self._escape)
        self.graph = stage_graph(dockerfile, request, names, checks)
        self.target = self.graph.target()
        context = context_files(request.context, resolution, None)
        self._context = context or _PENDING
        self._is_ignored = ignored_paths(request)
        self._bases: dict[int, Base | None] = {}
        self._states: dict[int, StageState] = {}
        self._lowered: list[Node] = []

    def lower(self, roots: Iterable[Node]) -> None:
        """Find the bases of all that the roots need, fire triggers, and fold every stage."""
        roots = list(roots)
        nodes = self.graph.reachable(roots)
        while fresh := [node for node in nodes if id(node) not in self._bases]:
            for node in fresh:
                self._prepare(node)
            nodes = self.graph.reachable(roots)
        for node in nodes:
            self._fold(node)

    def state(self, node: Node) -> StageState:
        """Give the final state of a stage; only once nothing is missing."""
        return self._states[id(node)]

    def pin(self, node: Node) -> ImagePin | None:
        """Give the image that a stage rests on in the end; None for scratch and contexts."""
        while node.base is not None:
            node = node.base
        base = self._bases[id(node)]
        return None if base is None else base.pin

    def fired(self) -> Iterator[Instruction]:
        """List the triggers that the stages in use fired."""
        for node in self._lowered:
            yield from (one.instruction for one in node.commands if one.is_trigger)

    def images(self) -> tuple[ImageNeed, ...]:
        """List the images in use, each once."""
        needs = (base.need for base in self._bases.values() if base is not None)
        return tuple(dict.fromkeys(need for need in needs if need is not None))

    def lowered_stages(self) -> tuple[Node, ...]:
        """List the stages that were folded, in file order."""
        return tuple(node for node in self._lowered if node.is_stage)

    def _take_epoch(self, values: dict[str, str]) -> int | None:
        """Resolve SOURCE_DATE_EPOCH and put the seconds in its place, or nothing at all."""
        text = self._build_args.get(EPOCH, values.get(EPOCH, ""))
        found = epoch_s(text, self._dockerfile, values, self.resolution) if text else None
        for arguments in (self._build_args, values):
            if arguments.pop(EPOCH, None) is not None and found is not None:
                arguments[EPOCH] = str(found)
        return found

    def _prepare(self, node: Node) -> None:
        """Find what a stage stands on, and fire the triggers of that."""
        base = None if node.base else base_of(node, self.graph, self.resolution)
        self._bases[id(node)] = base
        if base is not None and base.pin is not None:
            self._check_platform(node, base)
        if not node.is_stage or node.context is not None:
            return
        if base is not None:
            self._fire(node, base.config.config.on_build)
        elif node.base is not None:
            own = (command.instruction for command in node.base.commands)
            self._fire(node, tuple(found.text for found in own if isinstance(found, Onbuild)))

    def _fire(self, node: Node, triggers: tuple[str, ...]) -> None:
        commands = [
            self.graph.command(parse_trigger(text, node.span), is_trigger=True) for text in triggers
        ]
        node.commands = commands + node.commands
        node.total += len(commands)

    def _fold(self, node: Node) -> None:
        scope = self._scope(node)
        state = self._start(node, scope)
        if state is None:
            self._need_urls(node)
            return
        if node.context is None and node.is_stage:
            for command in node.commands:
                local = scope._replace(
                    checks=self._checks.below(command.instruction.comments),
                    find=partial(self._find, node, command),
                    is_trigger=command.is_trigger,
                )
                state = applied(command.instruction, state, local)
        self._states[id(node)] = state
        self._lowered.append(node)

    def _start(self, node: Node, scope: Scope) -> StageState | None:
        if node.base is not None:
            parent = self._states.get(id(node.base))
            return None if parent is None else restarted(parent)
        base = self._bases[id(node)]
        if base is None:
            return None
        vertex = base.files.vertex
        state = first_state(vertex, base.config, base.platform)
        is_image = isinstance(vertex.op, ops.Image)
        if is_image and node.is_stage:
            state = state._replace(step=1)
            name = scope.name(state, vertex.name)
            return state._replace(root=Vertex(vertex.op, name=name, span=node.span))
        if is_image or isinstance(vertex.op, ops.Scratch):
            return state
        state = state._replace(step=1)
        root = as_root(base.files, scope.name(state, f"FROM {node.base_name}"), node.span)
        return state._replace(root=root, layers=(root,))

    def _scope(self, node: Node) -> Scope:
        request = self.resolution.request
        filtered = {name.lower() for name in request.ignoring_cache_for}
        return Scope(
            self.resolution,
            self._checks,
            self._escape,
            self.global_args,
            self._build_args,
            self._context,
            find=lambda _name, _span: _PENDING,
            is_ignored=self._is_ignored,
            stage=self.graph.title(node),
            total=node.total,
            is_ignoring_cache=request.is_ignoring_cache or node.title.lower() in filtered,
        )

    def _find(self, node: Node, command: Command, name: str, span: Span) -> Files:
        source = dict(command.sources)[name]
        if source.base is None and (not source.is_stage or source.context is not None):
            base = self._bases[id(source)]
            return _PENDING if base is None else base.files
        if source.index >= node.index:
            verb = "mount" if isinstance(command.instruction, Run) else "copy"
            raise DockerfileError(
                f'cannot {verb} from stage "{name}", it needs to be defined before current stage'
                f' "{node.title}"',
                fix="move the stage up",
                span=span,
                word=name,
            )
        state = self._states.get(id(source))
        return _PENDING if state is None else Files(state.root, is_context=False)

    def _need_urls(self, node: Node) -> None:
        """Ask for downloads that do not depend on the stage's environment, before it is known."""
        for command in node.commands:
            add = command.instruction
            if isinstance(add, Add) and "$" not in f"{add.sources}{add.checksum}":
                for source in filter(is_url, add.sources):
                    if source not in self.resolution.pins.urls:
                        self.resolution.needs.url(HttpNeed(source, None, add.span))

    def _check_platform(self, node: Node, base: Base) -> None:
        actual, expected = normalized(base.config.platform), normalized(base.platform)
        if actual[:2] != expected[:2]:
            self._checks.report(
                BASE_PLATFORM,
                f'Base image {node.base_name} was pulled with platform "{actual}", expected'
                f' "{expected}" for current build',
                node.span,
            )
