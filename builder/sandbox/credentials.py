"""The last privileged steps of a sandbox's first process: who it is and what it may do.

The order matters: groups before the user, the bounding set while SETPCAP is held, and the filter
last of all, since without no_new_privs installing one takes SYS_ADMIN. That capability is gone
after the next exec, which recomputes all sets from the bounding one.
"""

import os
import resource
from errno import EINVAL, EPERM

from builder.errors import KernelError, StartError
from builder.kernel import syscalls
from builder.sandbox.spec import SandboxSpec

_CAP_SYS_ADMIN = 21
_LAST_CAPABILITY = 63
_SIGKILL = 9


def apply_rlimits(spec: SandboxSpec) -> None:
    """Set the resource limits; needs SYS_RESOURCE to raise a hard one."""
    for limit in spec.rlimits:
        try:
            resource.setrlimit(limit.resource, (limit.soft, limit.hard))
        except (OSError, ValueError) as error:
            raise StartError(
                f"resource limit {limit.resource} cannot be {limit.soft}:{limit.hard}: {error}",
                fix="a rootless engine cannot exceed its own hard limits (see ulimit -H)",
            ) from None


def become(spec: SandboxSpec) -> None:
    """Take on the identity and keep only what is needed until exec."""
    needs_admin = spec.seccomp is not None and not spec.no_new_privileges
    _drop_bounding(spec.capabilities if spec.uid == 0 or not spec.fake_ownership else 0)
    if not spec.fake_ownership:
        _set_ids(spec)
    kept = spec.capabilities if spec.uid == 0 else 0
    if needs_admin:
        kept |= 1 << _CAP_SYS_ADMIN
    _, permitted, _ = syscalls.capget()
    kept &= permitted
    syscalls.capset(effective=kept, permitted=kept, inheritable=0)
    try:
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    except KernelError as error:
        if error.errno != EINVAL:  # before 4.3 there were none
            raise
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _SIGKILL)  # a change of identity had cleared it
    if spec.no_new_privileges:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


def _set_ids(spec: SandboxSpec) -> None:
    if spec.uid != 0:
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    try:
        _set_groups(spec.groups)
        os.setresgid(spec.gid, spec.gid, spec.gid)
        os.setresuid(spec.uid, spec.uid, spec.uid)
    except OSError as error:
        if error.errno in {EINVAL, EPERM}:
            raise StartError(
                f"user {spec.uid}:{spec.gid} does not exist in this user namespace",
                fix="give the account more ids in /etc/subuid and /etc/subgid",
            ) from None
        raise


def _set_groups(groups: tuple[int, ...]) -> None:
    try:
        os.setgroups(groups)
    except PermissionError:
        if groups:
            raise
        # With one id mapped, setgroups is denied, and the caller's own groups stay.


def _drop_bounding(kept: int) -> None:
    for capability in range(_LAST_CAPABILITY):
        if kept >> capability & 1:
            continue
        try:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
        except KernelError as error:
            if error.errno != EINVAL:
                raise
            return  # this kernel knows no higher one
