import os
import pty
import select
import termios
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import UsageError
from builder.sandbox.console import DetachScanner, detach_keys, raw_mode, set_size, size
from builder.sandbox.spec import Running


def _read_all(fd: int) -> bytes:
    pieces = b""
    while select.select([fd], [], [], 5)[0]:
        try:
            piece = os.read(fd, 4096)
        except OSError:
            break
        if not piece:
            break
        pieces += piece
    return pieces


@pytest.mark.namespaces
def test_a_sandbox_gets_a_terminal_of_its_own(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        script = "tty; stty size; test -t 0 && test -t 2 && echo yes; echo hi > /dev/console;"
        script += "ls -l /dev/console"
        spec = engine.sh(script, is_tty=True, console_size=(33, 77))
        with engine.zygote.launch(spec, null_fd, null_fd, null_fd) as sandbox:
            console = sandbox.started().console
            text = _read_all(console)
            os.close(console)
            return text, sandbox.wait().status

    text, status = inside(body)

    assert status == 0
    assert text.split(b"\r\n")[:4] == [b"/dev/pts/0", b"33 77", b"yes", b"hi"]
    assert b"crw--w----" in text


@pytest.mark.namespaces
def test_keys_reach_the_foreground_process(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        spec = engine.sh("trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.02; done")
        with engine.zygote.launch(spec._replace(is_tty=True), null_fd, null_fd, null_fd) as sandbox:
            console = sandbox.started().console
            os.read(console, 100)
            os.write(console, b"\x03")
            return _read_all(console), sandbox.wait().status

    text, status = inside(body)

    assert (b"caught" in text, status) == (True, 4)


@pytest.mark.namespaces
def test_keys_reach_a_command_below_an_init(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        spec = engine.sh("echo ready; exec sleep 60", is_tty=True, with_init=True)
        with engine.zygote.launch(spec, null_fd, null_fd, null_fd) as sandbox:
            console = sandbox.started().console
            os.read(console, 100)
            os.write(console, b"\x03")
            return sandbox.wait(10).status

    assert inside(body) == 130


@pytest.mark.namespaces
def test_a_further_process_gets_a_terminal_of_the_container(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        with engine.zygote.launch(engine.sh("sleep 60"), null_fd, null_fd, null_fd) as sandbox:
            root = Running(sandbox.started().pid)
            spec = engine.sh("tty; stty size", root=root, is_tty=True, console_size=(5, 6))
            with engine.zygote.launch(spec, null_fd, null_fd, null_fd) as further:
                return _read_all(further.started().console)

    assert inside(body) == b"/dev/pts/0\r\n5 6\r\n"


@pytest.mark.namespaces
@pytest.mark.parametrize(
    "change",
    ["umount /dev/pts", "umount /dev/pts; touch /dev/pts/ptmx", "mount -t tmpfs x /dev/pts"],
)
def test_a_false_devpts_in_a_container_is_refused(inside: Callable[..., Any], change: str) -> None:
    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        read_fd, write_fd = os.pipe()
        spec = engine.sh(f"{change}; echo ready; sleep 60")
        spec = spec._replace(capabilities=(1 << 41) - 1, seccomp=None)
        with engine.zygote.launch(spec, null_fd, write_fd, null_fd) as sandbox:
            root = Running(sandbox.started().pid)
            os.read(read_fd, 6)
            return engine.run(engine.sh("true", root=root, is_tty=True))

    assert inside(body)[5] == 125


def test_the_size_of_a_terminal() -> None:
    master_fd, slave_fd = pty.openpty()

    set_size(master_fd, 12, 34)

    assert size(slave_fd) == (12, 34)
    os.close(master_fd)
    os.close(slave_fd)


def test_what_is_no_terminal_has_no_size() -> None:
    read_fd, write_fd = os.pipe()
    assert size(read_fd) == (0, 0)
    os.close(read_fd)
    os.close(write_fd)


def test_raw_mode_is_undone() -> None:
    master_fd, slave_fd = pty.openpty()
    before = termios.tcgetattr(slave_fd)

    with raw_mode(slave_fd):
        raw = termios.tcgetattr(slave_fd)

    assert not raw[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
    assert termios.tcgetattr(slave_fd) == before
    os.close(master_fd)
    os.close(slave_fd)


def test_detach_keys_are_read() -> None:
    assert detach_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert detach_keys("a,ctrl-@,ctrl-[") == b"a\x00\x1b"
    assert detach_keys("") == b""


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "ctrl-p,,", "ctrl-ä", "ä", "\n"])
def test_other_detach_keys_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        detach_keys(text)


@given(st.binary(max_size=40), st.binary(min_size=1, max_size=4), st.data())
def test_the_scanner_stops_at_the_first_occurrence(
    typed: bytes, keys: bytes, data: st.DataObject
) -> None:
    scanner = DetachScanner(keys)
    passed = b""
    rest = typed
    while rest:
        length = data.draw(st.integers(1, len(rest)))
        passed += scanner.feed(rest[:length])
        rest = rest[length:]

    position = typed.find(keys)
    if position >= 0:
        assert scanner.is_detached
        assert passed == typed[:position]
    else:
        assert not scanner.is_detached
        assert typed.startswith(passed)
        assert keys.startswith(typed[len(passed) :])


def test_a_scanner_without_keys_passes_everything() -> None:
    assert DetachScanner(b"").feed(b"\x10\x11x") == b"\x10\x11x"
