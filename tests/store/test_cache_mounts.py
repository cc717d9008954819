"""Cache mounts."""

import os
import threading
from pathlib import Path
from stat import S_IMODE

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.concurrency import CancelToken
from builder.errors import Cancelled
from builder.store.cache_mounts import mount_hash
from builder.store.store import Store


def test_what_was_left_is_found_again(store: Store, root: str) -> None:
    with store.cache_mounts.held("id") as mount:
        assert mount.is_new
        Path(mount.path, "file").write_text("kept")

    with Store.open(root) as other, other.cache_mounts.held("id") as again:
        assert not again.is_new
        assert Path(again.path, "file").read_text() == "kept"


@pytest.mark.parametrize("mount_id", ["../../etc", "/etc", ".", "..", "a/b", "", "\n", "x" * 5000])
def test_an_id_is_never_a_path(store: Store, mount_id: str) -> None:
    with store.cache_mounts.held(mount_id) as mount:
        assert os.path.dirname(mount.path) == store.paths.cache_mounts
        assert len(os.path.basename(mount.path)) == 64


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_ids_and_namespaces_do_not_run_together(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (mount_hash(*one) == mount_hash(*other)) == (one == other)


def test_namespaces_are_apart(store: Store) -> None:
    with (
        store.cache_mounts.held("id", namespace="a") as first,
        store.cache_mounts.held("id", namespace="b") as second,
    ):
        assert first.path != second.path


@pytest.mark.root
def test_a_new_one_has_the_mode_and_owner_that_were_asked_for(store: Store) -> None:
    with store.cache_mounts.held("id", mode_bits=0o1770, uid=5, gid=6) as mount:
        status = os.stat(mount.path)

    assert (S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o1770, 5, 6)


def test_a_new_one_is_filled_before_anybody_sees_it(store: Store) -> None:
    def fill(fd: int) -> None:
        assert os.listdir(store.paths.cache_mounts) == [f"{mount_hash('id', '')}.new"]
        os.close(os.open("seed", os.O_CREAT | os.O_WRONLY, dir_fd=fd))

    with store.cache_mounts.held("id", fill=fill) as mount:
        assert os.listdir(mount.path) == ["seed"]


def test_a_failed_filling_is_begun_anew(store: Store) -> None:
    def fail(_fd: int) -> None:
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"), store.cache_mounts.held("id", fill=fail):
        pass

    with store.cache_mounts.held("id") as mount:
        assert mount.is_new
        assert os.listdir(store.paths.cache_mounts) == [os.path.basename(mount.path)]


def test_shared_ones_are_used_at_once(store: Store) -> None:
    with store.cache_mounts.held("id") as first, store.cache_mounts.held("id") as second:
        assert first.path == second.path


def test_private_ones_take_another_directory_and_the_first_again_later(store: Store) -> None:
    held = store.cache_mounts.held
    with held("id", sharing="private") as first, held("id", sharing="private") as second:
        assert first.path != second.path
    with held("id", sharing="private") as third:
        assert third.path == first.path


def test_a_locked_one_waits_and_can_be_cancelled(store: Store) -> None:
    token = CancelToken()
    threading.Timer(0.02, token.cancel).start()
    held = store.cache_mounts.held

    with held("id", sharing="locked"), pytest.raises(Cancelled), held("id", token=token):
        pass


def test_they_are_listed_even_if_their_row_was_lost(store: Store) -> None:
    with store.cache_mounts.held("id", namespace="ns") as mount:
        Path(mount.path, "file").write_bytes(b"x" * 10_000)
    os.mkdir(store.cache_mounts.path("lost"))

    lost, listed = sorted(store.cache_mounts.usages(), key=lambda usage: usage.id)

    assert lost.hash == "lost"
    assert (listed.id, listed.namespace) == ("id", "ns")
    assert listed.size_bytes >= 10_000
