import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.errors import KernelError, StartError

pytestmark = pytest.mark.namespaces


def test_output_and_status_come_back(run: Callable[..., Any]) -> None:
    outcome = run("echo out; echo err >&2; exit 42")

    assert (outcome.out, outcome.err, outcome.status) == ("out\n", "err\n", 42)


def test_death_by_a_signal_is_128_and_its_number(run: Callable[..., Any]) -> None:
    outcome = run("sleep 5 & kill -9 $!; wait $!")

    assert (outcome.status, outcome.signal) == (137, None)


def test_the_command_is_process_1(run: Callable[..., Any]) -> None:
    outcome = run("echo $$; kill -9 $$; echo alive")

    assert outcome.out == "1\nalive\n"


def test_killing_the_first_process_ends_all(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        read_fd, write_fd = os.pipe()
        script = "(trap '' TERM; sleep 100) & sleep 100 & echo up; wait"
        with engine.zygote.launch(engine.sh(script), null_fd, write_fd, null_fd) as sandbox:
            os.close(write_fd)
            sandbox.started()
            up = os.read(read_fd, 3)
            sandbox.kill()
            exit_ = sandbox.wait()
            rest = os.read(read_fd, 1)  # the end only comes when nobody holds the pipe
            return up, rest, tuple(exit_)[:2]

    assert inside(body) == (b"up\n", b"", (137, 9))


def test_a_daemon_left_behind_is_dead_when_wait_returns(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        script = "(setsid sleep 60 >/dev/null 2>&1 &) ; exit 0"
        outcome = engine.run(engine.sh(script))
        alive = [
            pid
            for pid in os.listdir("/proc")
            if pid.isdigit() and _command(pid).startswith(b"sleep\x0060")
        ]
        return outcome.status, alive

    assert inside(body) == (0, ())


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_several_sandboxes_run_at_once(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        results = {}

        def one(number: int) -> None:
            base = engine.tree.base / f"n{number}"
            for name in ("u", "w"):
                (base / name).mkdir(parents=True)
            root = engine.tree.overlay(userxattr=engine.privileges.userxattr)
            root = root._replace(upper=str(base / "u"), work=str(base / "w"))
            spec = engine.sh(f"sleep 0.3; exit {number}", root=root)
            with engine.zygote.launch(spec, null_fd, null_fd, null_fd) as sandbox:
                sandbox.started()
                results[number] = sandbox.wait().status

        threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
        begin_s = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(results.items()), time.monotonic() - begin_s

    results, took_s = inside(body)

    assert results == tuple((number, number) for number in range(8))
    assert took_s < 1.5


def test_wait_gives_up_after_its_time(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        with engine.zygote.launch(engine.sh("sleep 60"), null_fd, null_fd, null_fd) as sandbox:
            sandbox.started()
            return sandbox.wait(0.05)

    assert inside(body) is None


def test_a_signal_reaches_a_command_that_handles_it(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        read_fd, write_fd = os.pipe()
        script = "trap 'exit 7' TERM; echo ready; while true; do sleep 0.02; done"
        with engine.zygote.launch(engine.sh(script), null_fd, write_fd, null_fd) as sandbox:
            sandbox.started()
            os.read(read_fd, 6)
            sandbox.kill(signal.SIGTERM)
            return sandbox.wait().status

    assert inside(body) == 7


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (("missing",), 127, "exec: missing: executable file not found in $PATH"),
        (("/bin/missing",), 127, "no such file or directory"),
        (("/etc",), 126, "permission denied"),
        (("/etc/plain",), 126, "permission denied"),
        (("plain",), 126, "exec: plain: permission denied"),
        (("/etc/text",), 126, "exec format error"),
        (("/etc/script",), 127, "interpreter"),
        ((), 125, "no command"),
        (("",), 125, "no command"),
    ],
)
def test_a_command_that_cannot_run_is_explained(
    inside: Callable[..., Any], argv: tuple[str, ...], status: int, words: str
) -> None:
    def body(engine: Any) -> Any:
        etc = engine.tree.lower / "etc"
        (etc / "plain").write_text("")
        (etc / "text").write_text("\x01\x02 no program\n")
        (etc / "text").chmod(0o755)
        (etc / "script").write_text("#!/no/such/interpreter\n")
        (etc / "script").chmod(0o755)
        return engine.run(engine.spec(*argv, env=("PATH=/bin:/etc",)))

    outcome = inside(body)

    assert outcome[5] == status
    assert words in outcome[6]


def test_the_error_of_a_command_under_init_is_explained(inside: Callable[..., Any]) -> None:
    outcome = inside(lambda engine: engine.run(engine.spec("/nope", with_init=True)))

    assert (outcome[5], "no such file" in outcome[6]) == (127, True)


def test_an_init_reaps_orphans_and_passes_the_status_on(run: Callable[..., Any]) -> None:
    script = (
        "(sleep 0.01 &) ; sleep 0.2; cat /proc/[0-9]*/status | grep -c 'State:.Z'; echo $$; exit 9"
    )

    outcome = run(script, with_init=True)

    assert (outcome.status, outcome.out) == (9, "0\n2\n")


def test_an_init_passes_signals_on(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        read_fd, write_fd = os.pipe()
        spec = engine.sh("echo up; exec sleep 60", with_init=True)
        with engine.zygote.launch(spec, null_fd, write_fd, null_fd) as sandbox:
            sandbox.started()
            os.read(read_fd, 3)
            sandbox.kill(signal.SIGTERM)
            return sandbox.wait().status

    assert inside(body) == 128 + signal.SIGTERM


def test_everything_dies_with_the_main_process(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        read_fd, write_fd = os.pipe()
        pid = os.fork()
        if pid == 0:
            _hold_a_sandbox(engine, write_fd)
        os.close(write_fd)
        pids = [int(word) for word in os.read(read_fd, 100).split()]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        deadline_s = time.monotonic() + 1
        while any(map(_is_alive, pids)) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return len(pids), [pid for pid in pids if _is_alive(pid)]

    assert inside(body) == (2, ())


def _hold_a_sandbox(engine: Any, write_fd: int) -> None:
    from builder.sandbox.zygote import Zygote

    try:
        zygote = Zygote.start()
        null_fd = os.open("/dev/null", os.O_RDWR)
        sandbox = zygote.launch(engine.sh("trap '' TERM; sleep 100"), null_fd, null_fd, null_fd)
        sandbox.started()
        os.write(write_fd, f"{zygote._pid} {sandbox.pid}".encode())
        time.sleep(60)
    finally:
        os._exit(1)


def _is_alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def test_the_death_of_the_zygote_is_reported(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        from builder.sandbox.zygote import Zygote

        zygote = Zygote.start()
        null_fd = os.open("/dev/null", os.O_RDWR)
        sandbox = zygote.launch(engine.sh("sleep 100"), null_fd, null_fd, null_fd)
        pid = sandbox.started().pid
        os.kill(zygote._pid, signal.SIGKILL)
        with pytest.raises(KernelError, match="No child"):
            sandbox.wait()
        with pytest.raises(StartError):
            zygote.launch(engine.sh("true"), null_fd, null_fd, null_fd).started()
        deadline_s = time.monotonic() + 1
        while _is_alive(pid) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return _is_alive(pid)

    assert inside(body) is False


def test_closing_the_zygote_kills_what_still_runs(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        from builder.sandbox.zygote import Zygote

        null_fd = os.open("/dev/null", os.O_RDWR)
        with Zygote.start() as zygote:
            sandbox = zygote.launch(engine.sh("sleep 100"), null_fd, null_fd, null_fd)
            pid = sandbox.started().pid
        return _is_alive(pid)

    assert inside(body) is False


def test_a_zygote_sleeps_until_it_is_wanted(inside: Callable[..., Any]) -> None:
    def body(_engine: Any) -> Any:
        from builder.sandbox.zygote import Zygote

        with Zygote.start() as zygote:
            children = Path(f"/proc/{zygote._pid}/task/{zygote._pid}/children")
            time.sleep(0.1)
            before = children.read_text().split()
            zygote.wake()
            zygote.wake()
            deadline_s = time.monotonic() + 10
            while not (after := children.read_text().split()) and time.monotonic() < deadline_s:
                time.sleep(0.001)
        return len(before), len(after)

    assert inside(body) == (0, 1)


def test_a_sleeping_zygote_ends_with_its_parent(inside: Callable[..., Any]) -> None:
    def body(_engine: Any) -> Any:
        from builder.sandbox.zygote import Zygote

        read_fd, write_fd = os.pipe()
        parent = os.fork()
        if parent == 0:
            zygote = Zygote.start()
            os.write(write_fd, str(zygote._pid).encode())
            time.sleep(60)
            os._exit(1)
        pid = int(os.read(read_fd, 20))
        was_alive = _is_alive(pid)
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        deadline_s = time.monotonic() + 10
        while _is_alive(pid) and time.monotonic() < deadline_s:
            time.sleep(0.005)
        return was_alive, _is_alive(pid)

    assert inside(body) == (True, False)


def test_a_zygote_may_be_closed_again(inside: Callable[..., Any]) -> None:
    def body(_engine: Any) -> Any:
        from builder.sandbox.zygote import Zygote

        with Zygote.start() as zygote:
            zygote.close()
            child = os.fork()
            if child == 0:
                os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert inside(body) == 7


def test_the_environment_and_arguments_are_passed_as_bytes(run: Callable[..., Any]) -> None:
    outcome = run(
        ("/bin/sh", "-c", 'echo "$1$A" | od -An -tx1 2>/dev/null || echo "$1$A"', "-", "\udcff"),
        env=("PATH=/bin", "A=\udcfeä"),
    )

    assert outcome.status == 0


def test_no_descriptor_of_the_engine_is_open_in_the_sandbox(run: Callable[..., Any]) -> None:
    outcome = run("ls /proc/1/fd; true")

    assert outcome.out.split() == ["0", "1", "2"]


def test_ignored_signals_are_not_inherited(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        from builder.sandbox.zygote import Zygote

        for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        with Zygote.start() as zygote:
            changed = engine._replace(zygote=zygote)
            command = ("grep", "-E", "Sig(Ign|Blk)", "/proc/self/status")
            return changed.run(changed.spec(*command))[2]

    assert inside(body).split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]


def test_a_long_specification_passes(run: Callable[..., Any]) -> None:
    values = tuple(f"V{number}={'x' * 100_000}" for number in range(12))

    outcome = run("echo ${#V11}", env=("PATH=/bin", *values))

    assert outcome.out == "100000\n"
