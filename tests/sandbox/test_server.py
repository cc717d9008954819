import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.kernel import syscalls
from builder.sandbox.spec import Bind, FileMount, Tmpfs

pytestmark = pytest.mark.namespaces
_IDLE_S = 0.05
_LOOK = (
    "sort /proc/mounts | sed 's/upperdir=[^,]*,workdir=[^,]*//';"
    "ls -l /dev | sed 's/ [A-Z].*:.. //';"
    "grep -E 'Cap|Sec|NoNew|Sig[BIC]' /proc/self/status; ls /proc/self/fd; ls /;"
    "hostname; pwd; umask;"
    "(echo > /proc/sysrq-trigger) 2>&1; head -c 1 /proc/kcore | wc -c; cat /proc/self/cgroup;"
    "ip addr show lo | grep 127; set -- /proc/[0-9]*; echo $#; readlink /proc/1/exe"
)


def _fresh(engine: Any, number: int, script: str, **changes: Any) -> Any:
    """Make a spec on an upper directory of its own."""
    for name in ("u", "w"):
        (engine.tree.base / f"{name}{number}").mkdir()
    root = engine.tree.overlay(userxattr=engine.privileges.userxattr)._replace(
        upper=str(engine.tree.base / f"u{number}"), work=str(engine.tree.base / f"w{number}")
    )
    return engine.sh(script, root=root, is_shm_strict=False, hostname="box", **changes)


@pytest.mark.root  # a user namespace shows the mounts of the two in another order
def test_a_spare_gives_the_same_container(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        from builder.sandbox.server import Server

        made = Server._make_spare
        Server._make_spare = lambda self: setattr(self, "_spare", None)  # type: ignore[method-assign]
        with type(engine.zygote).start() as zygote:
            plain = engine._replace(zygote=zygote)
            without = plain.run(_fresh(plain, 1, _LOOK))
        Server._make_spare = made  # type: ignore[method-assign]
        time.sleep(_IDLE_S)
        with_spare = engine.run(_fresh(engine, 2, _LOOK))
        return without, with_spare

    without, with_spare = inside(body)

    assert with_spare[:4] == without[:4]
    assert [stub[0] for stub in with_spare[4]] == [stub[0] for stub in without[4]]


@pytest.mark.root  # it joins the host's network namespace, which is no user namespace's
@pytest.mark.parametrize("uid", [0, 12345])
def test_a_spare_serves_every_kind_of_request(inside: Callable[..., Any], uid: int) -> None:
    if uid and os.geteuid() != 0:
        pytest.skip("needs root to be another user")

    def body(engine: Any) -> Any:
        (engine.tree.base / "source").mkdir()
        source = str(engine.tree.base / "source")
        kinds: tuple[dict[str, Any], ...] = (
            {},
            {"mounts": (Bind("/b", source), Tmpfs("/t"), FileMount("/f", b"x"))},
            {"masked_paths": (), "read_only_paths": ()},
            {"shm_size_bytes": 1 << 20},
            {"is_privileged": True},
            {"is_root_read_only": True},
            {"with_init": True},
            {"network": "host"},
            {"network": 0},
            {"mounts": (Bind("/b", source, propagation="slave"),)},
        )
        statuses = []
        namespace = os.open("/proc/self/ns/net", os.O_RDONLY) if not uid else _other_network()
        for number, changes in enumerate(kinds):
            time.sleep(_IDLE_S)
            spec = _fresh(
                engine, number, "test -c /dev/null && test -d /proc/1 && exit 3", **changes
            )
            fds = (namespace,) if changes.get("network") == 0 else ()
            outcome = engine.run(spec, fds)
            statuses.append(outcome.status if outcome.error_status is None else outcome.error)
        return statuses

    assert inside(body, uid=uid) == (3,) * 10


def _other_network() -> int:
    """Open a network namespace that belongs to our user namespace."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        os.write(write_fd, b"x")
        time.sleep(30)
        os._exit(0)
    os.read(read_fd, 1)
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return fd


def test_a_spare_shows_the_network_that_was_given(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        time.sleep(_IDLE_S)
        namespace = _other_network()
        number = os.fstat(namespace).st_ino
        script = (
            "readlink /proc/self/ns/net; ls /sys/class/net; touch /sys/x; ls /sys/firmware | wc -l"
        )
        outcome = engine.run(_fresh(engine, 1, script, network=0), (namespace,))
        return number, outcome.out.split(), outcome.err

    number, words, err = inside(body)

    assert words == (f"net:[{number}]", "lo", "0")
    assert "Read-only" in err


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_a_spare_refuses_links_too(inside: Callable[..., Any], tree: Any, name: str) -> None:
    (tree.lower / name).rmdir()
    (tree.lower / name).symlink_to("/tmp")

    def body(engine: Any) -> Any:
        time.sleep(_IDLE_S)
        return engine.run(_fresh(engine, 1, "true"))

    outcome = inside(body)

    assert outcome[5] == 125
    assert f"/{name}" in outcome[6]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_spare_is_made_for_the_network_of_the_request_before(
    inside: Callable[..., Any], *, is_known: bool
) -> None:
    def body(engine: Any) -> Any:
        before, other = _other_network(), _other_network()
        network = before if is_known else other
        engine.run(_fresh(engine, 1, "true", network=0), (before,))
        spare = _spare_of(engine.zygote)
        time.sleep(_IDLE_S)
        is_inside = os.stat(f"/proc/{spare}/ns/net").st_ino == os.fstat(before).st_ino
        script = "readlink /proc/self/ns/net; ls /sys/class/net; ls -A /sys/firmware | wc -l"
        outcome = engine.run(_fresh(engine, 2, script, network=0), (network,))
        return is_inside, os.fstat(network).st_ino, outcome.out.split()

    is_inside, number, words = inside(body)

    assert is_inside
    assert words == (f"net:[{number}]", "lo", "0")


def test_a_spare_makes_a_network_where_there_is_to_be_none(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        before = _other_network()
        engine.run(_fresh(engine, 1, "true", network=0), (before,))
        time.sleep(_IDLE_S)
        script = "readlink /proc/self/ns/net; ls /sys/class/net; ip addr show lo | grep -c 127"
        outcome = engine.run(_fresh(engine, 2, script, network="none"))
        known = [os.fstat(before).st_ino, os.stat("/proc/self/ns/net").st_ino]
        return [f"net:[{number}]" for number in known], outcome.out.split()

    known, words = inside(body)

    assert words[0] not in known
    assert words[1:] == ("lo", "1")


def test_a_spare_in_another_network_does_not_serve_the_hosts(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        before = _other_network()
        engine.run(_fresh(engine, 1, "true", network=0), (before,))
        _spare_of(engine.zygote)
        time.sleep(_IDLE_S)
        outcome = engine.run(_fresh(engine, 2, "readlink /proc/self/ns/net", network="host"))
        return os.stat("/proc/self/ns/net").st_ino, outcome.out, outcome.status

    number, out, status = inside(body)

    assert (out, status) == (f"net:[{number}]\n", 0)


@pytest.mark.root
def test_later_mounts_of_the_main_process_are_seen(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        time.sleep(_IDLE_S)
        source = engine.tree.base / "source"
        source.mkdir()
        syscalls.mount("tmpfs", str(source), "tmpfs", 0)
        (source / "late").touch()
        return engine.run(_fresh(engine, 1, "ls /b", mounts=(Bind("/b", str(source)),)))

    assert inside(body)[2] == "late\n"


@pytest.mark.parametrize("is_used", [True, False])
def test_nothing_is_left_when_the_zygote_is_closed(
    inside: Callable[..., Any], *, is_used: bool
) -> None:
    def body(engine: Any) -> Any:
        zygote = type(engine.zygote).start()
        zygote.wake()
        children = [_spare_of(zygote)]
        if is_used:
            engine._replace(zygote=zygote).run(engine.sh("true"))
        zygote.close()
        deadline_s = time.monotonic() + 2
        while any(map(_is_alive, children)) and time.monotonic() < deadline_s:
            time.sleep(0.001)
        return [pid for pid in children if _is_alive(pid)]

    assert inside(body) == ()


def _spare_of(zygote: Any) -> str:
    """Wait for the spare that an idle zygote makes; its pid."""
    path = Path(f"/proc/{zygote._pid}/task/{zygote._pid}/children")
    deadline_s = time.monotonic() + 10
    while not (pids := path.read_text().split()) and time.monotonic() < deadline_s:
        time.sleep(0.001)
    [pid] = pids
    return pid


def _is_alive(pid: str) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def test_a_killed_spare_is_replaced(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        spare = int(_spare_of(engine.zygote))
        os.kill(spare, 9)
        while Path(f"/proc/{spare}").exists():
            time.sleep(0.001)
        first = engine.run(_fresh(engine, 1, "exit 4"))
        time.sleep(_IDLE_S)
        second = engine.run(_fresh(engine, 2, "exit 5"))
        return first.status, second.status

    assert inside(body) == (4, 5)
