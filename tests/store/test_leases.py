"""Leases and their death."""

import os
from collections.abc import Callable

from builder.oci.digest import digest_of
from builder.store.store import Store

DIGEST = digest_of(b"x")


def test_no_lease_is_taken_before_the_first_pin(store: Store) -> None:
    assert os.listdir(store.paths.leases) == []

    store.leases.pin_blob(DIGEST)

    assert len(os.listdir(store.paths.leases)) == 1


def test_others_see_the_pins_of_a_living_lease(store: Store, root: str) -> None:
    store.leases.pin_blob(DIGEST)
    store.leases.pin_image(DIGEST)
    store.leases.pin_snapshot(7)

    with Store.open(root) as other:
        marks = other.leases.live()

    assert marks == ({DIGEST}, {DIGEST}, {7})


def test_a_closed_store_pins_nothing(root: str) -> None:
    with Store.open(root) as store:
        store.leases.pin_blob(DIGEST)

    with Store.open(root) as other:
        assert other.leases.live().blobs == set()
        assert os.listdir(other.paths.leases) == []


def test_the_pins_of_a_killed_process_are_void(
    root: str, in_killed_child: Callable[[Callable[[], None]], None]
) -> None:
    def work() -> None:
        Store.open(root).leases.pin_blob(DIGEST)

    in_killed_child(work)

    with Store.open(root) as store:
        assert store.leases.live().blobs == set()
        assert os.listdir(store.paths.leases) == []


def test_a_torn_line_pins_nothing(store: Store, root: str) -> None:
    store.leases.pin_snapshot(3)
    (name,) = os.listdir(store.paths.leases)
    with open(f"{store.paths.leases}/{name}", "ab") as lease:
        lease.write(b"b sha256:12\xff\ns\nq 1\ns 4x")

    with Store.open(root) as other:
        assert other.leases.live() == (set(), set(), {3})


def test_a_forked_child_that_forgets_leaves_the_lease_alone(store: Store, root: str) -> None:
    store.leases.pin_snapshot(3)
    child = os.fork()
    if child == 0:
        store.forget()
        os._exit(0)
    os.waitpid(child, 0)

    with Store.open(root) as other:
        assert other.leases.live().snapshots == {3}
