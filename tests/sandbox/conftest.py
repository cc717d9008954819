"""A busybox root and an engine of its own process for every test that starts sandboxes."""

import ctypes
import marshal
import os
import shutil
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import builder.sandbox.init
import builder.sandbox.trampoline  # noqa: F401 - loaded here: the rootless user may not read it
from builder.errors import StartError
from builder.kernel import mounts, syscalls
from builder.kernel.namespaces import Privileges, enter
from builder.sandbox.direct import launch_direct
from builder.sandbox.launch import Sandbox
from builder.sandbox.spec import Overlay, SandboxSpec, Stub
from builder.sandbox.zygote import Zygote

BUSYBOX = shutil.which("busybox") or "/bin/busybox"
APPLETS = (
    "awk cat chmod chown cut dd df echo env false find grep head hostname id ip kill ln ls mkdir "
    "mknod mount mv nsenter ps pwd readlink rm sed sh sleep sort stat tail test touch tr true "
    "tty umount uname unshare wc wget yes stty chroot"
)
UNPRIVILEGED = 12345
_PR_SET_DUMPABLE = 4


class Tree(NamedTuple):
    """Directories for one overlay root."""

    base: Path
    lower: Path
    upper: Path
    work: Path

    def overlay(self, *, userxattr: bool = False) -> Overlay:
        return Overlay((str(self.lower),), str(self.upper), str(self.work), userxattr=userxattr)


class Outcome(NamedTuple):
    """What a sandbox did, or why it did not start (error_status, error)."""

    status: int | None
    signal: int | None
    out: str
    err: str
    stubs: tuple[Stub, ...]
    error_status: int | None
    error: str


class Engine(NamedTuple):
    """The inside of a test: privileges entered, a zygote at hand."""

    privileges: Privileges
    zygote: Zygote
    tree: Tree

    def spec(self, *argv: str, **changes: Any) -> SandboxSpec:
        overlay = self.tree.overlay(userxattr=self.privileges.userxattr)
        base = SandboxSpec(overlay, argv, env=("PATH=/bin",), seccomp="default")
        return base._replace(**changes)

    def sh(self, script: str, **changes: Any) -> SandboxSpec:
        return self.spec("/bin/sh", "-c", script, **changes)

    def run(
        self, spec: SandboxSpec, fds: tuple[int, ...] = (), *, stdin: int | None = None
    ) -> Outcome:
        """Run to the end with captured output."""
        null_fd = os.open("/dev/null", os.O_RDONLY)
        out_fd, err_fd = os.memfd_create("out"), os.memfd_create("err")
        try:
            given = null_fd if stdin is None else stdin
            with self.zygote.launch(spec, given, out_fd, err_fd, fds) as sandbox:
                return outcome_of(sandbox, out_fd, err_fd)
        finally:
            for fd in (null_fd, out_fd, err_fd):
                os.close(fd)


def outcome_of(sandbox: Sandbox, out_fd: int, err_fd: int) -> Outcome:
    try:
        stubs = sandbox.started().stubs
    except StartError as error:
        return Outcome(None, None, "", "", (), error.exit_status, error.what)
    ended = sandbox.wait(30)
    assert ended is not None
    texts = [os.pread(fd, 1 << 24, 0).decode(errors="replace") for fd in (out_fd, err_fd)]
    return Outcome(ended.status, ended.signal, texts[0], texts[1], stubs, None, "")


def in_process(function: Callable[[], Any], *, uid: int = 0) -> Any:
    """Call in a forked process and return its (marshallable) result; its failure is ours."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        result: tuple[bool, Any]
        signal.alarm(60)  # a test that hangs ends here
        try:
            if uid:
                become(uid)
            result = True, function()
        except BaseException:  # noqa: BLE001 - the process boundary
            result = False, traceback.format_exc()
        try:
            with open(write_fd, "wb") as file:
                file.write(marshal.dumps(plain(result)))
            status = 0
        finally:
            os._exit(status)
    os.close(write_fd)
    with open(read_fd, "rb") as file:
        content = file.read()
    os.waitpid(pid, 0)
    is_good, answer = marshal.loads(content) if content else (False, "the process died")
    assert is_good, answer
    return answer


def plain(value: Any) -> Any:
    return tuple(plain(item) for item in value) if isinstance(value, (tuple, list)) else value


def become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # as after a log-in


def grant_ids(base: Path, uid: int) -> None:
    """Grant ids 200000 to 265535 to an account, visible to this process and its children only."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    mounts.set_propagation("/", mounts.MS_PRIVATE)
    granted, accounts = base / "granted", base / "accounts"
    granted.write_text("tester:200000:65536\n")
    accounts.write_text(Path("/etc/passwd").read_text() + f"tester:x:{uid}:{uid}::/:/bin/sh\n")
    for source, target in ((granted, "subuid"), (granted, "subgid"), (accounts, "passwd")):
        syscalls.mount(str(source), f"/etc/{target}", "", mounts.MS_BIND)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A root with busybox and a few accounts, in directories of their own."""
    made = Tree(tmp_path, tmp_path / "lower", tmp_path / "upper", tmp_path / "work")
    for directory in made[1:]:
        directory.mkdir()
    binaries = made.lower / "bin"
    binaries.mkdir()
    shutil.copy(BUSYBOX, binaries / "busybox")
    for applet in APPLETS.split():
        (binaries / applet).symlink_to("busybox")
    for name in ("etc", "proc", "sys", "dev", "tmp", "root"):
        (made.lower / name).mkdir()
    (made.lower / "tmp").chmod(0o1777)
    for path in [tmp_path, *tmp_path.parents[:3]]:
        if path.stat().st_uid == os.getuid():
            path.chmod(path.stat().st_mode | 0o055)  # pytest's own directories are 0700
    return made


@pytest.fixture
def inside(tree: Tree) -> Callable[..., Any]:
    """Call a function of an Engine, as root or as another user, in a process of its own."""

    def call(function: Callable[[Engine], Any], *, uid: int = 0, has_ranges: bool = False) -> Any:
        if uid:
            for path in [tree.base, *tree.base.rglob("*")]:
                os.chown(path, uid, uid, follow_symlinks=False)

        def body() -> Any:
            if has_ranges:
                grant_ids(tree.base, uid)
            if uid:
                become(uid)
            privileges = enter()
            with Zygote.start() as zygote:
                zygote.wake()
                return function(Engine(privileges, zygote, tree))

        return in_process(body)

    return call


@pytest.fixture
def run(inside: Callable[..., Any]) -> Callable[..., Outcome]:
    """Run a shell script, or an argv, in a sandbox with changes to its spec."""

    def call(script: str | tuple[str, ...], **changes: Any) -> Outcome:
        def body(engine: Engine) -> Any:
            make = engine.sh(script, **changes) if isinstance(script, str) else None
            return engine.run(make or engine.spec(*script, **changes))

        raw = inside(body)
        return Outcome(*raw)._replace(stubs=tuple(Stub(*stub) for stub in raw[4]))

    return call


__all__ = ["launch_direct"]
