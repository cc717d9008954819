"""A zygote that was a process of its own before: it comes to the engine, or is replaced."""

import os
import signal
from _socket import AF_UNIX, SOCK_SEQPACKET, socket, socketpair
from collections.abc import Callable
from typing import Any

import pytest

from builder.kernel.namespaces import enter
from builder.sandbox.launch import WAKE
from builder.sandbox.recruit import Recruit
from builder.sandbox.zygote import Zygote
from tests.sandbox.conftest import UNPRIVILEGED, Engine, Tree, become, grant_ids, in_process

pytestmark = pytest.mark.root


def recruited(before: Callable[[], object] = lambda: None) -> tuple[socket, int]:
    """Fork a recruit, which does something before it serves; the socket to it, and its pid."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    engine_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            before()
            Recruit(theirs, engine_pid).serve()
        finally:
            os._exit(1)
    theirs.close()
    return ours, pid


def outcome(tree: Tree, make: Callable[[], tuple[socket, int]], uid: int = 0) -> Any:
    """Enter, make a recruit the zygote, run a step; whether it was the recruit, and the output."""
    for path in [tree.base, *tree.base.rglob("*")] if uid else ():
        os.chown(path, uid, uid, follow_symlinks=False)

    def body() -> Any:
        if uid:
            grant_ids(tree.base, uid)
            become(uid)
        requests, pid = make()
        privileges = enter()
        with Zygote.recruited(requests, pid) as zygote:
            zygote.confirm()
            zygote.confirm()
            engine = Engine(privileges, zygote, tree)
            ran = engine.run(engine.sh("id -u; cat /proc/self/uid_map; echo x > /new"))
            return zygote._pid == pid, ran.out, ran.status, (tree.upper / "new").exists()

    return in_process(body)


@pytest.mark.parametrize("uid", [0, UNPRIVILEGED])
def test_it_comes_to_the_engine_and_starts_sandboxes(tree: Tree, uid: int) -> None:
    is_recruit, out, status, is_written = outcome(tree, recruited, uid)

    assert (is_recruit, status, is_written) == (True, 0, True)
    assert out.splitlines()[0] == "0"
    if uid:
        assert out.splitlines()[1].split() == ["0", str(uid), "1"]


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda: os._exit(0), id="ended"),
        pytest.param(lambda: os.kill(os.getpid(), signal.SIGKILL), id="killed"),
        pytest.param(lambda: become(UNPRIVILEGED), id="not allowed"),
    ],
)
def test_another_is_forked_where_it_cannot_come(tree: Tree, end: Callable[[], object]) -> None:
    is_recruit, _out, status, is_written = outcome(tree, lambda: recruited(end))

    assert (is_recruit, status, is_written) == (False, 0, True)


def test_it_ends_if_nobody_wants_it() -> None:
    def body() -> Any:
        requests, pid = recruited()
        requests.close()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_process(body) == 0


def test_it_drops_what_it_does_for_a_sandbox_or_when_the_engine_is_gone() -> None:
    requests, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    recruit = Recruit(theirs, os.getpid())

    answers = [recruit.is_wanted()]
    requests.send(WAKE)
    answers += [recruit.is_wanted(), recruit.is_wanted()]
    theirs.recv(100)
    answers.append(recruit.is_wanted())
    requests.close()
    answers.append(recruit.is_wanted())
    theirs.close()

    assert answers == [False, True, True, False, True]
