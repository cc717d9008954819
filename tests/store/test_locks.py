"""Locks between threads and processes."""

import os
import threading
import time
from pathlib import Path

import pytest

from builder.concurrency import CancelToken
from builder.errors import Cancelled, StoreError
from builder.store.locks import Locks


@pytest.fixture
def locks(tmp_path: Path) -> Locks:
    return Locks(str(tmp_path / "lock"))


def test_a_held_lock_is_refused_to_others_and_free_afterwards(locks: Locks) -> None:
    with locks.held("a"), locks.tried("a") as is_held:
        assert not is_held
    with locks.tried("a") as is_held:
        assert is_held


def test_names_do_not_share_a_lock(locks: Locks) -> None:
    with locks.held("a"), locks.tried("b") as is_held:
        assert is_held


def test_shared_holders_exclude_only_an_exclusive_one(locks: Locks) -> None:
    with locks.held("a", is_shared=True), locks.tried("a", is_shared=True) as is_shared:
        assert is_shared
        with locks.tried("a") as is_exclusive:
            assert not is_exclusive


def test_a_dead_process_holds_nothing(locks: Locks) -> None:
    child = os.fork()
    if child == 0:
        with locks.held("a"):
            os._exit(0)
    os.waitpid(child, 0)

    with locks.tried("a") as is_held:
        assert is_held


def test_waiting_ends_with_cancellation(locks: Locks) -> None:
    token = CancelToken()
    threading.Timer(0.02, token.cancel).start()

    with locks.held("a"), pytest.raises(Cancelled), locks.held("a", token=token):
        pass


def test_waiting_ends_when_the_time_is_up(locks: Locks) -> None:
    with locks.held("a"), pytest.raises(StoreError, match="'a'"), locks.held("a", timeout_s=0.02):
        pass


def test_threads_take_turns(locks: Locks) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        with locks.held("a"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.002)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1] * 5
