"""The mounts of a RUN step: what each `--mount` becomes in the sandbox.

Sources are resolved inside the sandbox, by descriptor. What must be released when the step ends
(locks of cache mounts, writable throw-away layers, agents) is pushed on the caller's exit stack.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import assert_never

from builder.concurrency import CancelToken
from builder.errors import NotFound
from builder.executors.bench import Bench
from builder.graph.ops import (
    BindMount,
    CacheMount,
    Exec,
    ScriptMount,
    SecretMount,
    SshMount,
    TmpfsMount,
)
from builder.sandbox.spec import Bind, Device, FileMount, Mount, Overlay, OverlayMount, Tmpfs
from builder.solver.protocols import Result
from builder.values import NamedTuple

SCRIPT_MODE = 0o755
TMPFS_MODE = 0o1777


class StepMounts(NamedTuple):
    """The mount plan of one step, its variables, and descriptors that the plan refers to."""

    plan: tuple[Mount, ...]
    env: tuple[str, ...] = ()
    descriptors: tuple[int, ...] = ()
    devices: tuple[Device, ...] = ()


class _Gatherer:
    """Collects the mounts of one step."""

    def __init__(
        self, inputs: Sequence[Result], bench: Bench, token: CancelToken, stack: ExitStack
    ) -> None:
        self.inputs = inputs
        self.bench = bench
        self.token = token
        self.stack = stack
        self.env: list[str] = []

    def bind(self, mount: BindMount) -> Mount:
        """Show part of a stage read-only, or under a layer that is thrown away."""
        snapshot = self.inputs[mount.input].snapshot
        return self._overlay(mount.target, snapshot, mount.source, mount.is_writable)

    def _overlay(
        self,
        target: str,
        snapshot: int | None,
        source: str,
        is_writable: bool,  # noqa: FBT001
    ) -> Mount:
        snapshots = self.bench.store.snapshots
        userxattr = self.bench.privileges.userxattr
        if is_writable:
            active = snapshots.prepare(snapshot)
            self.stack.callback(snapshots.discard, active)
            overlay = Overlay(active.lowers, active.upper, active.work, True, userxattr)  # noqa: FBT003
        else:
            base = None if snapshot is None else snapshots.get(snapshot)
            overlay = Overlay(snapshots.lowers(base), userxattr=userxattr)
        return OverlayMount(target, overlay, source, is_read_only=not is_writable)

    def cache(self, mount: CacheMount) -> Mount:
        """Show the directory that is kept under the mount's ID, locked as it asks."""
        held = self.bench.store.cache_mounts.held(
            self._identity(mount),
            namespace=self.bench.cache_namespace,
            sharing=mount.sharing,
            mode_bits=mount.mode_bits,
            uid=mount.uid,
            gid=mount.gid,
            token=self.token,
        )
        directory = self.stack.enter_context(held)
        if directory.is_new and mount.input is not None:
            self._seed(directory.path, mount)
        return Bind(mount.target, directory.path, is_read_only=mount.is_read_only)

    def _identity(self, mount: CacheMount) -> str:
        """Tell mounts of one ID apart that begin differently, as the reference does."""
        begins = (mount.mode_bits, mount.uid, mount.gid)
        if mount.input is None and begins == (0o755, 0, 0):
            return mount.id
        source = "" if mount.input is None else f"{self.inputs[mount.input].key}{mount.source}"
        return f"{mount.id}\0{begins}\0{source}"

    def _seed(self, path: str, mount: CacheMount) -> None:
        """Fill a new cache directory with the content of its source."""
        from builder.executors.seed import seed_directory

        seed_directory(path, self.inputs[mount.input or 0], mount.source, self.bench)

    def secret(self, mount: SecretMount) -> list[Mount]:
        """Show a secret as a file in memory and/or a variable."""
        load = self.bench.secrets.get(mount.id)
        if load is None:
            if mount.is_required:
                raise NotFound(
                    f"secret {mount.id}: not found",
                    fix=f"give it with --secret id={mount.id},src=FILE or ,env=NAME",
                )
            if mount.env:
                self.env.append(f"{mount.env}=")
            return []
        value = load()
        if mount.env:
            self.env.append(f"{mount.env}={value.decode('utf-8', 'surrogateescape')}")
        if not mount.target:
            return []
        return [FileMount(mount.target, value, mount.mode_bits, mount.uid, mount.gid)]

    def agent(self, mount: SshMount) -> list[Mount]:
        """Show the client's SSH agent; the variable is set even where there is none."""
        self.env.append(f"SSH_AUTH_SOCK={mount.target}")
        lend = self.bench.agents.get(mount.id)
        if lend is None:
            if mount.is_required:
                raise NotFound(
                    f'no SSH key "{mount.id}" forwarded from the client',
                    fix=f"give an agent with --ssh {mount.id}",
                )
            return []
        path = self.stack.enter_context(lend())
        os.chmod(path, mount.mode_bits)
        os.chown(path, mount.uid, mount.gid)
        return [Bind(mount.target, path)]


def gather(
    op: Exec, inputs: Sequence[Result], bench: Bench, token: CancelToken, stack: ExitStack
) -> StepMounts:
    """Make the mount plan of a step, in the order of its mounts; may wait for a locked cache."""
    gatherer = _Gatherer(inputs, bench, token, stack)
    plan: list[Mount] = []
    for mount in op.mounts:
        match mount:
            case BindMount():
                plan.append(gatherer.bind(mount))
            case CacheMount():
                plan.append(gatherer.cache(mount))
            case TmpfsMount():
                plan.append(Tmpfs(mount.target, mount.size_bytes, TMPFS_MODE, ("nosuid", "nodev")))
            case SecretMount():
                plan.extend(gatherer.secret(mount))
            case SshMount():
                plan.extend(gatherer.agent(mount))
            case ScriptMount():
                content = mount.content.encode("utf-8", "surrogateescape")
                plan.append(FileMount(mount.target, content, SCRIPT_MODE))
            case _:
                assert_never(mount)
    if not op.devices:
        return StepMounts(tuple(plan), tuple(gatherer.env))
    from builder.executors.devices import edits

    added = edits(op.devices)
    env = (*added.env, *gatherer.env)
    return StepMounts((*added.mounts, *plan), env, devices=added.devices)
