"""Exec: run a process in a sandbox on the layers below; its writes are the new layer.

The upper directory of the sandbox's overlay is the snapshot: nothing is copied and nothing compared
when the step ends. Every process of the step is dead before the snapshot is taken.
"""

import os
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

from builder.concurrency import CancelToken
from builder.errors import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, StartError, StepFailed
from builder.executors.bench import MOUNT_POINTS, Bench, StepLimits, StepNetwork
from builder.executors.mounts import StepMounts, gather
from builder.executors.output import Output
from builder.executors.traces import remove_traces
from builder.graph.ops import Exec
from builder.graph.vertex import Vertex
from builder.kernel import rlimits
from builder.kernel.capabilities import ALL, DEFAULT
from builder.kernel.ids import Identity
from builder.networks import resolver
from builder.networks.resolver import HOST_GATEWAY
from builder.oci.platform import host_platform
from builder.sandbox.launch import Sandbox
from builder.sandbox.spec import (
    MASKED_PATHS,
    READ_ONLY_PATHS,
    Directory,
    FileMount,
    Overlay,
    Rlimit,
    SandboxSpec,
    Stub,
)
from builder.sandbox.stubs import remove_stubs
from builder.solver.protocols import Result
from builder.store.snapshotter import Active
from builder.text import visible
from builder.values import NamedTuple

KILL_AFTER_S = 0.2
SIGTERM, SIGKILL = 15, 9
_MEANINGS = {
    126: "the command was found but cannot be executed",
    127: "the command was not found: check its name, PATH, and that an earlier step installs it",
    137: "the process was killed (SIGKILL), as a rule for want of memory",
    139: "the process crashed (SIGSEGV)",
    143: "the process was terminated (SIGTERM)",
}


def execute(
    vertex: Vertex, op: Exec, inputs: Sequence[Result], bench: Bench, token: CancelToken
) -> int:
    """Run the step and commit what it wrote; raise StepFailed if it ends with another status."""
    snapshots = bench.store.snapshots
    active = snapshots.prepare(inputs[0].snapshot)
    try:
        with ExitStack() as stack:
            mounts = gather(op, inputs, bench, token, stack)
            network: StepNetwork = "none" if op.network == "none" else "host"
            if op.network == "default":
                network = stack.enter_context(bench.network())
            step = _Step(op, active, mounts, network, bench)
            try:
                with _control_group(op, bench) as groups:
                    step.run(Output(vertex.digest, bench.sink), groups, token)
            except StepFailed as failure:
                step.explain(failure)
                failure.span = vertex.span
                raise
        return snapshots.commit(active).id
    except BaseException:
        snapshots.discard(active)
        raise


def _control_group(op: Exec, bench: Bench) -> AbstractContextManager[tuple[str, ...]]:
    """Lend the files by which a step joins its control group, if it needs one."""
    if bench.limits == StepLimits() and not op.cgroup_parent:
        return nullcontext(())
    from builder.executors.limits import control_group

    return control_group(op, bench)


class _Step(NamedTuple):
    """One process to run, with everything that it is given."""

    op: Exec
    active: Active
    mounts: StepMounts
    network: StepNetwork
    bench: Bench

    def run(self, output: Output, groups: tuple[str, ...], token: CancelToken) -> None:
        """Start the process, forward its output, and wait until nothing of it is left."""
        spec = self._spec()._replace(cgroups=groups, devices=self.mounts.devices)
        stdin = _empty_pipe()
        network = (self.network,) if isinstance(self.network, int) else ()
        fds = (*self.mounts.descriptors, *network)
        try:
            launch = self.bench.zygote.launch
            with launch(spec, stdin, output.stdout, output.stderr, fds) as sandbox:
                output.close_write_ends()
                self.bench.meanwhile()
                stubs = _supervised(sandbox, self.op.argv, output, token)
        finally:
            os.close(stdin)
            output.close()
        upper_fd = os.open(self.active.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_stubs(upper_fd, stubs, MOUNT_POINTS)
            parents = {stub.path.partition("/")[0] for stub in stubs if stub.path.count("/") == 1}
            userxattr = self.bench.privileges.userxattr
            remove_traces(upper_fd, parents, self.active.lowers, userxattr=userxattr)
        finally:
            os.close(upper_fd)

    def explain(self, failure: StepFailed) -> None:
        """Name a program of another machine as the reason why a process could not start."""
        if failure.status not in {EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND}:
            return
        from builder.executors.foreign import foreign_program

        host = host_platform(os.uname().machine).architecture
        with self._viewed() as root_fd:
            foreign = foreign_program(root_fd, self.op.argv, self.op.env, host)
        if foreign is not None:
            failure.what = f"process {_quoted(self.op.argv)} did not start: {foreign.what}"
            failure.fix = foreign.fix

    def _viewed(self) -> AbstractContextManager[int]:
        snapshots = self.bench.store.snapshots
        parent = None if self.active.parent is None else snapshots.get(self.active.parent)
        return snapshots.viewed(parent)

    def _spec(self) -> SandboxSpec:
        op, bench = self.op, self.bench
        me = self._identity()
        is_insecure = op.security == "insecure"
        capabilities = ALL if is_insecure else DEFAULT
        is_faking = bench.privileges.is_single_uid
        is_filtered = is_faking or not is_insecure
        is_connected = isinstance(self.network, int)
        return SandboxSpec(
            root=self._root(),
            argv=op.argv,
            env=self._environment(me),
            cwd=op.cwd or "/",
            uid=me.uid,
            gid=me.gid,
            groups=me.groups,
            mounts=(*self._etc(), *self.mounts.plan),
            hostname=op.hostname,
            network=len(self.mounts.descriptors) if is_connected else self.network,
            capabilities=capabilities,
            seccomp="default" if is_filtered else None,
            masked_paths=() if is_insecure else MASKED_PATHS,
            read_only_paths=() if is_insecure else READ_ONLY_PATHS,
            rlimits=tuple(Rlimit(rlimits.NUMBERS[u.name], u.soft, u.hard) for u in op.ulimits),
            is_privileged=is_insecure,
            shm_size_bytes=op.shm_size_bytes,
            is_shm_strict=False,
            fake_ownership=is_faking,
        )

    def _etc(self) -> tuple[FileMount, FileMount]:
        added = [
            (name, self.bench.host_gateway(self.network) if text == HOST_GATEWAY else text)
            for name, text in self.op.extra_hosts
        ]
        hosts = resolver.step_hosts(self.op.hostname, added).encode()
        resolv_conf = self.bench.resolv_conf(self.network)
        return (
            FileMount("/etc/hosts", hosts, mode_bits=0o644),
            FileMount("/etc/resolv.conf", resolv_conf, mode_bits=0o644),
        )

    def _root(self) -> Overlay | Directory:
        active, userxattr = self.active, self.bench.privileges.userxattr
        if not active.lowers:
            return Directory(active.upper)
        return Overlay(
            active.lowers, active.upper, active.work, is_volatile=True, userxattr=userxattr
        )

    def _identity(self) -> Identity:
        store = self.bench.store
        parent = self.active.parent
        chain = () if parent is None else store.snapshots.stack(store.snapshots.get(parent))
        return self.bench.identities.find(self.op.user, chain, self._viewed)

    def _environment(self, me: Identity) -> tuple[str, ...]:
        """Order as the reference: the step's own, secrets, then HOME unless it is set."""
        env = (*self.op.proxy_env, *self.op.env, *self.mounts.env)
        if any(variable.startswith("HOME=") for variable in env):
            return env
        return (*env, f"HOME={me.home}")


def _supervised(
    sandbox: Sandbox, argv: tuple[str, ...], output: Output, token: CancelToken
) -> tuple[Stub, ...]:
    """Follow a step to its end; return its mount points, or raise StepFailed or Cancelled."""
    forget = token.on_cancel(lambda: _stop(sandbox))
    try:
        started = sandbox.started()
        output.pump(sandbox.fileno())
        ended = sandbox.wait()
    except StartError as error:
        token.check()
        raise StepFailed(
            f"process {_quoted(argv)} did not start: {error.what}",
            status=error.exit_status,
            log=output.last_lines(),
            fix=error.fix or _MEANINGS.get(error.exit_status),
        ) from None
    finally:
        forget()
    token.check()
    status = 0 if ended is None else ended.status
    if status != 0:
        raise StepFailed(
            f"process {_quoted(argv)} did not complete successfully: exit code: {status}",
            status=status,
            log=output.last_lines(),
            fix=_MEANINGS.get(status),
        )
    return started.stubs


def _stop(sandbox: Sandbox) -> None:
    """Ask the step to end, and kill it soon after; called from the thread that cancels."""
    sandbox.kill(SIGTERM)
    timer = threading.Timer(KILL_AFTER_S, sandbox.kill, (SIGKILL,))
    timer.daemon = True
    timer.start()


def _quoted(argv: tuple[str, ...]) -> str:
    return '"' + visible(" ".join(argv)) + '"'


def _empty_pipe() -> int:
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    os.close(write_end)
    return read_end
