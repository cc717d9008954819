import os
from pathlib import Path

import pytest

from builder.containers.model import EXIT_LOST, Container, State, monitored, new_id
from builder.containers.records import PAUSED, Records
from builder.containers.request import ContainerRequest
from builder.errors import Conflict, NotFound, UsageError
from builder.oci.config import RunConfig


@pytest.fixture
def records(tmp_path: Path) -> Records:
    (tmp_path / "trash").mkdir()
    return Records(str(tmp_path))


def made(records: Records, name: str = "") -> Container:
    identifier = new_id()
    records.prepare(identifier)
    container = Container(
        id=identifier,
        name=records.claim(name, identifier),
        created="2024-01-01T00:00:00Z",
        image="busybox",
        image_id="",
        manifest="",
        snapshot=None,
        platform="linux/amd64",
        config=RunConfig(labels=(("a", "b"),)),
        argv=("true",),
        hostname="",
        request=ContainerRequest("busybox"),
    )
    records.create(container)
    return container


def test_a_container_is_found_by_name_id_and_beginning(records: Records) -> None:
    container = made(records, "web")

    for text in ("web", "/web", container.id, container.id[:8]):
        assert records.get(text).container == container


def test_a_taken_name_is_a_conflict_and_comes_back(records: Records) -> None:
    container = made(records, "web")
    with pytest.raises(Conflict, match="already in use"):
        made(records, "web")

    records.remove(container)

    assert made(records, "web").name == "web"


def test_a_name_whose_holder_vanished_is_free(records: Records) -> None:
    records.claim("web", "f" * 64)

    assert made(records, "web").name == "web"


def test_a_made_up_name_is_given_to_who_asks_for_none(records: Records) -> None:
    assert made(records).name != made(records).name


@pytest.mark.parametrize("name", ["../x", "-x", "x", "a b", "x" * 200, ".."])
def test_bad_names_are_refused(records: Records, name: str) -> None:
    with pytest.raises(UsageError):
        made(records, name)


def test_renaming_frees_the_old_name(records: Records) -> None:
    container = made(records, "old")

    records.rename(container, "new")

    assert records.get("new").container.id == container.id
    with pytest.raises(NotFound):
        records.get("old")


def test_one_whose_monitor_is_dead_has_ended(records: Records) -> None:
    container = made(records, "web")
    records.save_state(container.id, State("running", monitor_pid=1, monitor_ticks=1, pid=9))

    state = records.get("web").state

    assert (state.status, state.exit_code, state.pid) == ("exited", EXIT_LOST, 0)


def test_one_whose_monitor_lives_runs_and_may_be_paused(records: Records) -> None:
    container = made(records, "web")
    records.save_state(container.id, monitored(State("running", pid=9)))
    assert records.get("web").state.status == "running"

    records.mark(container.id, PAUSED, is_set=True)

    assert records.get("web").state.status == "paused"


def test_one_that_is_not_there_has_no_lock(records: Records) -> None:
    with pytest.raises(NotFound), records.locked("f" * 64):
        pass


def test_what_never_became_a_container_is_swept_after_a_while(records: Records) -> None:
    begun, left, whole = new_id(), new_id(), made(records).id
    for identifier in (begun, left):
        records.prepare(identifier)
    for identifier in (left, whole):
        os.utime(records.path(identifier), (0, 0))

    records.sweep_half_made()

    assert [os.path.exists(records.path(name)) for name in (begun, left, whole)] == [
        True,
        False,
        True,
    ]
