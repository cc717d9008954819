"""Files: COPY, ADD, WORKDIR and here-documents, one layer for all actions of an instruction."""

from collections.abc import Sequence

from builder.concurrency import CancelToken
from builder.executors import adopt, patch
from builder.executors.bench import Bench
from builder.executors.reuse import shortcuts
from builder.executors.sources import opened_source
from builder.graph.ops import Action, Copy, Files, Mkdir, Write
from builder.graph.vertex import Vertex
from builder.layers import copy as copying
from builder.layers.surprises import surprises
from builder.solver.protocols import Result
from builder.store.snapshotter import Active
from builder.values import NamedTuple


def execute(
    vertex: Vertex, op: Files, inputs: Sequence[Result], bench: Bench, token: CancelToken
) -> int:
    """Do the actions in order on a new layer over input 0; nothing is left after an error."""
    if len(op.actions) == 1 and isinstance(op.actions[0], Copy):
        spared = _spared(vertex, op, op.actions[0], inputs, bench)
        if spared is not None:
            return spared
    snapshots = bench.store.snapshots
    active = snapshots.prepare(inputs[0].snapshot)
    try:
        with snapshots.mounted(active) as root_fd:
            step = _Step(op, inputs, active, root_fd, bench)
            for action in op.actions:
                token.check()
                for text in step.act(action):
                    bench.warn(text, vertex.span)
        return snapshots.commit(active).id
    except BaseException:
        snapshots.discard(active)
        raise


def _spared(
    vertex: Vertex, op: Files, action: Copy, inputs: Sequence[Result], bench: Bench
) -> int | None:
    """Make the result of a step that is one copy without copying it whole; None if it must be."""
    adopted = adopt.execute(action, inputs, bench)
    return patch.execute(vertex, op, action, inputs, bench) if adopted is None else adopted


class _Step(NamedTuple):
    """The actions of one instruction, on their mounted root."""

    op: Files
    inputs: Sequence[Result]
    active: Active
    root_fd: int
    bench: Bench

    def act(self, action: Action) -> tuple[str, ...]:
        """Do one action; the warnings it gives."""
        match action:
            case Copy():
                return self._copy(action)
            case Mkdir():
                return copying.mkdir(action, self.root_fd).warnings
            case Write():
                return copying.write(action, self.root_fd).warnings

    def _copy(self, action: Copy) -> tuple[str, ...]:
        given, is_last = self.inputs[action.input], action is self.op.actions[-1]
        with opened_source(self.bench, given) as source:
            unexpected = surprises(action, source, self.root_fd)
            with shortcuts(
                self.op, (given, source), self.active, self.bench, is_last=is_last
            ) as reuse:
                upper = None if reuse is None else self.active.upper
                done = copying.copy(
                    action,
                    source,
                    self.root_fd,
                    can_mknod=self.bench.privileges.is_root,
                    upper=upper,
                    reuse=reuse,
                )
        return (*unexpected, *done.warnings)
