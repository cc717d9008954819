import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.errors import KernelError
from builder.sandbox.direct import launch_direct

pytestmark = pytest.mark.namespaces


def test_the_caller_is_the_parent(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        sandbox = launch_direct(engine.sh("sleep 0.05; exit 3"), null_fd, null_fd, null_fd)
        with sandbox:
            pid = sandbox.started().pid
            with open(f"/proc/{pid}/status") as file:
                parent = next(line for line in file if line.startswith("PPid")).split()[1]
            before = sandbox.wait(0.0)
            ends = [sandbox.wait(), sandbox.wait()]
            return int(parent) == os.getpid(), before, *(end and end.status for end in ends)

    assert inside(body) == (True, None, 3, 3)


def test_errors_come_back(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        with launch_direct(engine.spec("/no"), null_fd, null_fd, null_fd) as sandbox:
            try:
                sandbox.started()
            except Exception as error:  # noqa: BLE001
                return error.exit_status, str(error)  # type: ignore[attr-defined]
        return None

    assert inside(body)[0] == 127


def test_it_is_killed_with_its_parent(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        read_fd, write_fd = os.pipe()
        pid = os.fork()
        if pid == 0:
            _hold_a_sandbox(engine, write_fd)
        os.close(write_fd)
        child = int(os.read(read_fd, 20))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for _ in range(100):
            try:
                if b") Z " in Path(f"/proc/{child}/stat").read_bytes():
                    return True
            except OSError:
                return True
            time.sleep(0.01)
        return False

    assert inside(body) is True


def _hold_a_sandbox(engine: Any, write_fd: int) -> None:
    try:
        null_fd = os.open("/dev/null", os.O_RDWR)
        sandbox = launch_direct(engine.sh("sleep 100"), null_fd, null_fd, null_fd)
        os.write(write_fd, str(sandbox.started().pid).encode())
        time.sleep(60)
    finally:
        os._exit(1)


def test_a_process_with_threads_is_refused(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        done = threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        try:
            with pytest.raises(KernelError):
                launch_direct(engine.sh("true"), 0, 1, 2)
        finally:
            done.set()
            thread.join()

    assert inside(body) is None


def test_ignored_signals_are_reset(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        null_fd, out_fd = os.open("/dev/null", os.O_RDWR), os.memfd_create("out")
        spec = engine.spec("grep", "SigIgn", "/proc/self/status")
        with launch_direct(spec, null_fd, out_fd, null_fd) as sandbox:
            sandbox.started()
            sandbox.wait()
        return os.pread(out_fd, 100, 0)

    assert inside(body) == b"SigIgn:\t0000000000000000\n"
