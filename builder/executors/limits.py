"""Limits of a RUN step: a control group of its own while it runs, and what to say of its end."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from builder.errors import StepFailed, UsageError
from builder.executors.bench import Bench, StepLimits
from builder.graph.ops import Exec
from builder.kernel import cgroup_limits, cgroups

_MIB = 1 << 20
_NANO = 1_000_000_000
_PREFIX = "step-"


@contextmanager
def control_group(op: Exec, bench: Bench) -> Iterator[tuple[str, ...]]:
    """Make a group for one step and lend the files to join it by; what is left in it is killed.

    Raises Denied if the machine cannot keep a limit. An end for want of memory is named.
    """
    limits = bench.limits
    parent = _parent(op.cgroup_parent)
    _sweep(parent)
    name = f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
    group = cgroups.create(name, _limits(limits), parent=parent)
    if group is None:  # there was no limit to keep
        yield ()
        return
    try:
        yield group.procs
        if limits.memory_bytes and group.oom_kills():
            bench.warn(_killed("a process of ", op, limits.memory_bytes), None)
    except StepFailed as failure:
        if limits.memory_bytes and group.oom_kills():
            raise _out_of_memory(op, failure, limits.memory_bytes) from None
        raise
    finally:
        group.kill()
        group.remove()


def _sweep(parent: str) -> None:
    """Remove the groups of builders that were killed; their steps died with them."""
    machine = cgroups.hierarchies()
    for mount in {*machine.v1.values(), machine.v2} - {""}:
        try:
            names = os.listdir(f"{mount}/{parent}")
        except OSError:
            continue
        for name in names:
            pid = name.removeprefix(_PREFIX).partition("-")[0]
            if name.startswith(_PREFIX) and not os.path.exists(f"/proc/{pid}"):
                group = cgroups.existing(name, parent=parent)
                if group is not None:
                    group.remove()


def _limits(limits: StepLimits) -> cgroup_limits.Limits:
    period_us = cgroup_limits.DEFAULT_PERIOD_US if limits.cpus else 0
    return cgroup_limits.Limits(
        memory_bytes=limits.memory_bytes or 0,
        cpu_quota_us=cgroup_limits.quota_of_cpus(int((limits.cpus or 0) * _NANO)),
        cpu_period_us=period_us,
    )


def _parent(text: str) -> str:
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise UsageError(
            f"the control group {text!r} leads upwards", fix="name a group below the top"
        )
    return "/".join(parts) or cgroups.PARENT


def _out_of_memory(op: Exec, failure: StepFailed, limit_bytes: int) -> StepFailed:
    return StepFailed(
        _killed("process ", op, limit_bytes),
        status=failure.status,
        log=failure.log or "",
        fix="give the step more with --memory, or make it use less",
    )


def _killed(who: str, op: Exec, limit_bytes: int) -> str:
    limit = f"{limit_bytes / _MIB:.1f} MiB"
    return f'{who}"{" ".join(op.argv)}" was killed: out of memory (limit {limit})'
