"""Making containers in a store of their own, without starting them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.containers.assembly import Base
from builder.containers.creation import ImageFound, Workplace, create, owner_of, workplace
from builder.containers.request import ContainerRequest
from builder.oci.config import RunConfig
from builder.oci.digest import digest_of
from builder.oci.platform import Platform
from builder.store.snapshotter import Snapshot
from builder.store.store import Store

pytestmark = pytest.mark.root


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    with Store.open(str(tmp_path / "state")) as store:
        yield workplace(store)


def image_on(snapshot: Snapshot) -> ImageFound:
    base = Base(digest_of(b"manifest"), digest_of(b"config"), snapshot.id, "linux/amd64")
    return ImageFound(base, RunConfig(cmd=("true",)), Platform("linux", "amd64"))


def cut_power(store: Store) -> None:
    store.close()
    Path(store.paths.session).write_text("another-boot 0\n")


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_power_cut_takes_no_image_from_a_container_that_is_to_last(
    place: Workplace, *, is_removed: bool
) -> None:
    store = place.store
    snapshot = store.snapshots.commit(store.snapshots.prepare(None))
    request = ContainerRequest("box", is_removed=is_removed, networks=("none",))

    container = create(place, request, lambda _request: image_on(snapshot))
    cut_power(store)

    with Store.open(store.root) as again:
        active = again.snapshots.active(owner_of(container.id))
        is_there = again.snapshots.find(snapshot.id) is not None
        assert is_there is not is_removed
        assert active is not None
