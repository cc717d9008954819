"""One more process in a container that runs: what it inherits and what may be said anew."""

import os

from builder.containers.assembly import merged_environment, process_environment
from builder.containers.request import EnvironmentWord
from builder.containers.runtime import Plan
from builder.containers.spec import exec_confinement
from builder.kernel.cgroups import Cgroup
from builder.kernel.ids import Identity
from builder.sandbox.spec import Running, SandboxSpec
from builder.values import NamedTuple


class ExecRequest(NamedTuple):
    """The flags of `exec`; empty texts mean as the container's own."""

    argv: tuple[str, ...]
    environment: tuple[EnvironmentWord, ...] = ()
    user: str = ""
    workdir: str = ""
    is_tty: bool = False
    is_interactive: bool = False
    is_privileged: bool = False


def exec_spec(
    plan: Plan,
    argv: tuple[str, ...],
    *,
    pid: int,
    cgroup: Cgroup | None,
    request: ExecRequest | None = None,
    identity: Identity | None = None,
    console_size: tuple[int, int] = (0, 0),
) -> SandboxSpec:
    """Put the specification together. The caller makes sure that `pid` is the main process."""
    container = plan.container
    asked = request or ExecRequest(argv)
    who = identity or plan.identity
    config = container.config._replace(
        env=merged_environment(container.config.env, asked.environment)
    )
    confinement = exec_confinement(
        container, plan.privileges, root=plan.root, is_privileged=asked.is_privileged
    )
    return SandboxSpec(
        root=Running(pid),
        argv=argv,
        env=process_environment(
            config, hostname=container.hostname, home=who.home, is_tty=asked.is_tty
        ),
        cwd=asked.workdir or container.config.working_dir or "/",
        uid=who.uid,
        gid=who.gid,
        groups=who.groups,
        capabilities=confinement.capabilities,
        seccomp=confinement.seccomp,
        no_new_privileges=confinement.no_new_privileges,
        cgroups=cgroup.procs if cgroup is not None else (),
        is_tty=asked.is_tty,
        console_size=console_size,
        is_cwd_created=False,
        fake_ownership=plan.privileges.is_single_uid,
    )


def root_of(pid: int) -> int:
    """Open the root directory of a process; the caller closes it."""
    return os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
