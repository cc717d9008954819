"""`enter` by users, with and without granted ids, is tested in tests/sandbox/test_rootless.py."""

import os
import signal
import time
from pathlib import Path

import pytest

from builder.errors import KernelError
from builder.kernel import namespaces, syscalls

pytestmark = pytest.mark.root


def _in_child(action: "object") -> str:
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        text = "failed"
        try:
            text = str(action())  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001 - the process boundary
            text = repr(error)
        finally:
            os.write(write_fd, text.encode())
            os._exit(0)
    os.close(write_fd)
    with open(read_fd) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


def test_root_gets_a_mount_table_of_its_own(tmp_path: Path) -> None:
    def body() -> object:
        privileges = namespaces.enter()
        syscalls.mount("tmpfs", str(tmp_path), "tmpfs", 0)
        (tmp_path / "x").touch()
        return privileges.is_root, privileges.is_single_uid, privileges.userxattr

    assert _in_child(body) == "(True, False, False)"
    assert list(tmp_path.iterdir()) == []


def test_joining_the_own_user_namespace_changes_nothing() -> None:
    assert "is_root=True" in _in_child(lambda: namespaces.enter(join_pid=os.getppid()))


def test_a_process_that_is_gone_cannot_be_joined() -> None:
    assert "No such file" in _in_child(lambda: namespaces.enter(join_pid=2**22 - 1))


def test_the_user_namespace_of_another_process_is_joined() -> None:
    ready_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            os.write(write_fd, b"x")
            time.sleep(30)
        finally:
            os._exit(0)
    os.read(ready_fd, 1)
    Path(f"/proc/{pid}/uid_map").write_text("0 0 1000")
    Path(f"/proc/{pid}/gid_map").write_text("0 0 1000")

    def body() -> object:
        privileges = namespaces.enter(join_pid=pid)
        same = os.stat("/proc/self/ns/user").st_ino == os.stat(f"/proc/{pid}/ns/user").st_ino
        return same, privileges.is_root, privileges.uid_ranges

    found = _in_child(body)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert found == "(True, False, ((0, 0, 1000),))"


def test_a_process_with_threads_cannot_be_moved(tmp_path: Path) -> None:
    import threading

    def body() -> object:
        done = threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER)
        except KernelError as error:
            return error.errno
        finally:
            done.set()
            thread.join()
        return tmp_path

    assert _in_child(body) == "22"


def test_another_process_comes_to_the_mounts_and_the_root(tmp_path: Path) -> None:
    (tmp_path / "mark").touch()

    def body() -> object:
        read_fd, write_fd = os.pipe()
        go_fd, ready_fd = os.pipe()
        pid = os.fork()
        if pid == 0:
            fds = [int(text) for text in os.read(go_fd, 100).split()]
            paths = [f"/proc/{os.getppid()}/fd/{fd}" for fd in fds]
            namespaces.come(*(os.open(path, os.O_RDONLY) for path in paths))
            os.write(write_fd, f"{os.getcwd()} {sorted(os.listdir('/'))}".encode())
            os._exit(0)
        namespaces.enter()
        syscalls.mount("tmpfs", str(tmp_path), "tmpfs", 0)
        (tmp_path / "inside").touch()
        os.chroot(tmp_path)
        os.mkdir("/proc")
        syscalls.mount("proc", "/proc", "proc", 0)
        os.write(ready_fd, " ".join(map(str, namespaces.opened())).encode())
        os.waitpid(pid, 0)
        return os.read(read_fd, 1000).decode()

    assert _in_child(body) == "/ ['inside', 'proc']"
    assert [path.name for path in tmp_path.iterdir()] == ["mark"]
