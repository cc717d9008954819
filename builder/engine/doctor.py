"""What the machine offers, found out without changing anything."""

import os
from collections.abc import Callable, Mapping
from typing import Literal

from builder.values import NamedTuple

Verdict = Literal["fine", "limited", "missing"]
OLDEST_KERNEL = (4, 18)
ENOUGH_BYTES = 2 << 30
_CAP_SYS_ADMIN = 21


class Finding(NamedTuple):
    """One thing looked at: `limited` works with less, `missing` does not work."""

    subject: str
    verdict: Verdict
    what: str
    fix: str = ""


def findings(root: str, environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """Look at everything; the order is from the kernel up."""
    checks: tuple[Callable[[], Finding], ...] = (
        _kernel,
        _privileges,
        _overlay,
        _seccomp,
        _control_groups,
        lambda: _program("iptables or nft", ("nft", "iptables"), environ, "bridge networks"),
        lambda: _state(root),
    )
    return tuple(check() for check in checks)


def _kernel() -> Finding:
    release = os.uname().release
    numbers = release.split("-")[0].split(".")[:2]
    version = tuple(int(n) for n in numbers if n.isdigit())
    if version < OLDEST_KERNEL:
        return Finding("kernel", "missing", f"Linux {release}", "use Linux 4.18 or newer")
    return Finding("kernel", "fine", f"Linux {release} on {os.uname().machine}")


def _privileges() -> Finding:
    if os.geteuid() == 0:
        if _has_capability(_CAP_SYS_ADMIN):
            return Finding("privileges", "fine", "root, mounts are allowed")
        return Finding("privileges", "limited", "root, but without CAP_SYS_ADMIN", _USERNS_FIX)
    allowed = _read("/proc/sys/user/max_user_namespaces")
    if allowed.strip() == "0" or _read("/proc/sys/kernel/unprivileged_userns_clone") == "0\n":
        return Finding("privileges", "missing", "user namespaces are switched off", _USERNS_FIX)
    if not _subordinate_ids():
        return Finding(
            "privileges",
            "limited",
            "an ordinary user without subordinate IDs: all files belong to one user",
            "install uidmap, and add a line for this user to /etc/subuid and /etc/subgid",
        )
    return Finding("privileges", "fine", "an ordinary user with user namespaces")


_USERNS_FIX = "run as root, or allow user namespaces (sysctl user.max_user_namespaces)"


def _has_capability(number: int) -> bool:
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _subordinate_ids() -> bool:
    """Tell whether /etc/subuid and /etc/subgid have ranges for this user."""
    import pwd

    uid = os.getuid()
    try:
        names = {str(uid), pwd.getpwuid(uid).pw_name}
    except KeyError:
        names = {str(uid)}
    return all(
        any(line.split(":")[0] in names for line in _read(path).splitlines())
        for path in ("/etc/subuid", "/etc/subgid")
    )


def _overlay() -> Finding:
    kinds = [line.split()[-1] for line in _read("/proc/filesystems").splitlines() if line.strip()]
    if "overlay" in kinds:
        return Finding("overlayfs", "fine", "known to the kernel")
    return Finding(
        "overlayfs", "limited", "not loaded: every step copies the whole tree", "modprobe overlay"
    )


def _seccomp() -> Finding:
    actions = _read("/proc/sys/kernel/seccomp/actions_avail").split()
    if "errno" in actions:
        return Finding("seccomp", "fine", "filters are available")
    return Finding("seccomp", "missing", "the kernel has no seccomp filters")


def _control_groups() -> Finding:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        controllers = _read("/sys/fs/cgroup/cgroup.controllers").strip() or "no controller"
        return Finding("control groups", "fine", f"version 2: {controllers}")
    if os.path.isdir("/sys/fs/cgroup/memory"):
        return Finding("control groups", "fine", "version 1")
    return Finding(
        "control groups",
        "limited",
        "not mounted: no limits of memory and processors",
        "mount -t cgroup2 none /sys/fs/cgroup",
    )


def _program(
    subject: str, names: tuple[str, ...], environ: Mapping[str, str], purpose: str
) -> Finding:
    """Look for one of several programs on the path."""
    path = f"{environ.get('PATH', '')}:/usr/sbin:/sbin".split(":")
    for name in names:
        for directory in path:
            candidate = os.path.join(directory, name)
            if directory and os.access(candidate, os.X_OK):
                return Finding(subject, "fine", candidate)
    return Finding(subject, "limited", f"not found: no {purpose}", f"install {names[0]}")


def _state(root: str) -> Finding:
    """Look at the state directory, or the parent that would hold it."""
    place = root
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    if not os.access(place, os.W_OK):
        return Finding(
            "state directory", "missing", f"{root} cannot be written", "give another by --root"
        )
    facts = os.statvfs(place)
    free = facts.f_bavail * facts.f_frsize
    text = f"{root}, {free / 1e9:.1f} GB free"
    if free < ENOUGH_BYTES:
        return Finding("state directory", "limited", text, "free some space: builder prune")
    return Finding("state directory", "fine", text)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as opened:
            return opened.read()
    except OSError:
        return ""
