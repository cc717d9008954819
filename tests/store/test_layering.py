"""Layers of snapshots that patch an earlier one."""

import os
from collections.abc import Callable

import pytest

from builder.layers.blocks import Blocks
from builder.layers.members import Members
from builder.store import member_lists
from builder.store.snapshotter import Snapshot
from builder.store.store import Store
from tests.store.conftest import Files, write_file

pytestmark = pytest.mark.root

MANY = {f"f{number:04}": b"%d " % number * 500 for number in range(400)}


def new_snapshot(
    store: Store, parent: Snapshot | None, files: Files, *, is_patch: bool = False
) -> Snapshot:
    """Commit a state whose members are listed, unless it is a patch."""
    active = store.snapshots.prepare(parent)
    with store.snapshots.mounted(active) as fd:
        for path, content in files.items():
            assert content is not None
            write_file(fd, path, content)
        os.utime(fd, ns=(0, 0))
    if not is_patch:
        member_lists.ask(active.upper)
    return store.snapshots.commit(active, name="COPY test", is_patch=is_patch)


def pair(store: Store) -> tuple[Snapshot, Snapshot]:
    """Make a state with its layer, and a patch of it without."""
    base = new_snapshot(store, None, {"base": b""})
    earlier = new_snapshot(store, base, MANY)
    store.layers.ensure(earlier)
    return earlier, new_snapshot(store, earlier, {"f0200": b"changed"}, is_patch=True)


def test_a_list_is_made_where_it_was_asked_for_and_used(store: Store) -> None:
    earlier, patch = pair(store)
    listed = member_lists.listed(earlier.diff)

    layer = store.layers.ensure(patch)

    assert listed is not None
    assert listed.index is not None
    assert listed.names.count(b"\0") == len(MANY)
    spliced = member_lists.listed(patch.diff)
    assert spliced is not None
    assert spliced.index is not None
    assert spliced.index.digest == layer.descriptor.digest


def _without_index(index: Blocks) -> Blocks | None:
    del index
    return None


def _of_a_lie(index: Blocks) -> Blocks | None:
    return index._replace(sizes=tuple(size + 1 for size in index.sizes))


@pytest.mark.parametrize(
    ("change", "is_used"), [(_without_index, True), (_of_a_lie, False), (None, False)]
)
def test_a_layer_does_not_depend_on_its_list(
    store: Store, change: Callable[[Blocks], Blocks | None] | None, *, is_used: bool
) -> None:
    earlier, patch = pair(store)
    expected = store.layers.ensure(patch)
    store.content.set_aside(expected.descriptor.digest)
    os.unlink(f"{os.path.dirname(patch.diff)}/members")
    listed = member_lists.listed(earlier.diff)
    assert listed is not None
    assert listed.index is not None
    members = Members()
    if change is not None:
        members.extend(listed.names, listed.blocks)
        members.index = change(listed.index)
        member_lists.keep(earlier.diff, members)
    else:
        os.truncate(f"{os.path.dirname(earlier.diff)}/members", 100)

    assert store.layers.ensure(patch) == expected
    assert (member_lists.listed(patch.diff) is not None) == is_used
