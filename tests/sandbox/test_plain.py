"""A sandbox that is started by a program is the one that `init` makes, to the last mount."""

import fcntl
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from builder.kernel import seccomp
from builder.sandbox import trampoline
from builder.sandbox.direct import launch_direct
from builder.sandbox.plain import program_of
from builder.sandbox.program import PROGRAM_FD, STATUS_FD
from builder.sandbox.spec import (
    DEFAULT_CAPABILITIES,
    Bind,
    Device,
    Directory,
    FileMount,
    Rlimit,
    SandboxSpec,
    Stub,
    Tmpfs,
)
from tests.sandbox.conftest import Engine

pytestmark = [pytest.mark.root, pytest.mark.namespaces]

HIGH_FD = 400
"""Above all that the test process has open."""
SHOW = r"""
cut -d' ' -f4- /proc/self/mountinfo
grep -E 'Cap|Sec|NoNew|id:|Groups|Umask|Sig(Ign|Blk|Cgt)|NS' /proc/$$/status
find / -path /proc -prune -o -path /sys -prune -o -print | sort
ls -l /dev /dev/pts / | sed 's/[A-Z][a-z][a-z] .*[0-9] / /' | grep -v ' proc$'
for file in /etc/hosts /etc/deep/er/file; do cat $file; echo x > $file && echo writable; done
hostname; pwd; env; ls /proc/$$/fd; echo >&2 error; cat /proc/keys /proc/self/cgroup
touch /new; ls -ld /new; ps; umount /proc; readlink /proc/1/exe
"""
FILES = (
    FileMount("/etc/hosts", b"127.0.0.1 localhost\n", 0o644, is_read_only=False),
    FileMount("/etc/deep/er/file", b"deep\n", 0o600),
)


def plain_spec(engine: Engine, script: str = SHOW, **changes: Any) -> SandboxSpec:
    spec = engine.sh(script, network="host", hostname="named", mounts=FILES)
    return spec._replace(seccomp=seccomp.default_profile(DEFAULT_CAPABILITIES))._replace(**changes)


def by_init(
    engine: Engine, spec: SandboxSpec
) -> tuple[int, list[str], list[str], tuple[Stub, ...]]:
    null_fd, readers, writers = os.open("/dev/null", os.O_RDONLY), *_pipes()
    with launch_direct(spec, null_fd, *writers) as sandbox:
        stubs = sandbox.started().stubs
        ended = sandbox.wait()
    shutil.rmtree(engine.tree.upper)
    shutil.rmtree(engine.tree.work)
    engine.tree.upper.mkdir()
    engine.tree.work.mkdir()
    return ended.status if ended else -1, *_read(readers, writers), stubs


def by_program(spec: SandboxSpec, program: bytes) -> tuple[int, list[str], list[str], bytes]:
    """Start a program as `cli.instant` does; also give what the trampoline said after the pid."""
    readers, writers = _pipes()
    code, steps = trampoline.memory_file(), os.memfd_create("program")
    os.write(steps, program)
    os.lseek(steps, 0, os.SEEK_SET)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    given = [*writers, writing, steps]
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH_FD) for fd in given]
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, 1 + number) for number, fd in enumerate(high)]
    words = ["sandbox-start", str(STATUS_FD), "p", str(PROGRAM_FD), "x", spec.argv[0], *spec.argv]
    env = dict(item.split("=", 1) for item in spec.env)
    starter = os.posix_spawn(f"/proc/self/fd/{code}", words, env, file_actions=actions)
    for fd in (*high, writing):
        os.close(fd)
    os.waitpid(starter, 0)
    with open(reading, "rb") as file:
        said = file.read()
    _, status = os.waitpid(int.from_bytes(said[:8], "little"), 0)
    return os.waitstatus_to_exitcode(status), *_read(readers, writers), said[8:]


def _pipes() -> tuple[tuple[int, int], tuple[int, int]]:
    """Make the pipes of both outputs, with room for all that is written."""
    (out, to_out), (err, to_err) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    return (out, err), (to_out, to_err)


def _read(readers: tuple[int, int], writers: tuple[int, int]) -> tuple[list[str], list[str]]:
    for fd in writers:
        os.close(fd)
    texts = []
    for fd in readers:
        with open(fd, encoding="utf-8") as file:
            texts.append(file.read().splitlines())
    return texts[0], texts[1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"uid": 1000, "gid": 1000, "groups": (5, 2000), "cwd": "/tmp"},
        {"is_root_read_only": True, "no_new_privileges": True, "domainname": "domain"},
        {"seccomp": None, "capabilities": 0, "masked_paths": (), "read_only_paths": ()},
        {"mounts": (), "shm_size_bytes": 1 << 20, "umask": 0o077, "env": ("PATH=/bin", "A=b=c")},
    ],
)
def test_both_ways_give_the_same_sandbox(
    inside: Callable[..., Any], changes: dict[str, Any]
) -> None:
    def body(engine: Engine) -> Any:
        spec = plain_spec(engine, **changes)
        status, out, err, stubs = by_init(engine, spec)
        program = program_of(spec, stubs, spec.argv[0])
        assert program is not None
        assert any("/dev/mqueue" in line for line in out)
        return (status, out, err, b""), by_program(spec, program)

    expected, found = inside(body)

    assert found == expected


def test_nothing_is_executed_if_the_root_is_not_as_it_was(inside: Callable[..., Any]) -> None:
    def body(engine: Engine) -> Any:
        spec = plain_spec(engine)
        *_, stubs = by_init(engine, spec)
        program = program_of(spec, stubs, spec.argv[0])
        assert program is not None
        (engine.tree.upper / "etc").mkdir()
        (engine.tree.upper / "etc/hosts").touch()
        return by_program(spec, program)

    status, out, err, said = inside(body)

    assert (status, out, err) == (127, (), ())
    assert int.from_bytes(said, "little") == 17  # EEXIST


def test_a_command_that_cannot_be_executed_is_told(inside: Callable[..., Any]) -> None:
    def body(engine: Engine) -> Any:
        spec = plain_spec(engine)
        *_, stubs = by_init(engine, spec)
        program = program_of(spec, stubs, "/bin/absent")
        assert program is not None
        return by_program(spec, program)

    *_, said = inside(body)

    assert int.from_bytes(said, "little") == 2  # ENOENT


@pytest.mark.parametrize(
    "changes",
    [
        {"is_tty": True},
        {"is_privileged": True},
        {"network": "none"},
        {"pid": "host"},
        {"cgroups": ("/sys/fs/cgroup/cgroup.procs",)},
        {"devices": (Device("/dev/fuse"),)},
        {"rlimits": (Rlimit(7, 1, 1),)},
        {"sysctls": (("net.ipv4.ip_forward", "1"),)},
        {"mounts": (Bind("/mnt", "/tmp"),)},
        {"mounts": (Tmpfs("/mnt"),)},
        {"cwd": "/proc/self"},
        {"cwd": "relative"},
        {"fake_ownership": True},
        {"root": Directory("/tmp")},
    ],
)
def test_what_is_unusual_has_no_program(inside: Callable[..., Any], changes: Any) -> None:
    assert inside(lambda engine: program_of(plain_spec(engine, **changes), (), "/bin/sh")) is None


def test_a_mount_point_in_an_unexpected_place_has_no_program(inside: Callable[..., Any]) -> None:
    stub = Stub("etc/elsewhere", 1, 1, False, 0, 0)  # noqa: FBT003 - as a dangling link leads to

    assert inside(lambda engine: program_of(plain_spec(engine), (stub,), "/bin/sh")) is None
