import os
from pathlib import Path

import pytest

from builder.errors import Conflict, NotFound, UsageError
from builder.volumes.registry import Volume, Volumes


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    (tmp_path / "trash").mkdir()
    return Volumes(str(tmp_path))


def test_a_volume_is_a_directory_with_a_name(volumes: Volumes) -> None:
    made = volumes.create(Volume("work", "now", labels=(("a", "b"),)))

    assert volumes.get("work") == made
    assert volumes.known() == [made]
    assert os.path.isdir(volumes.mount_point("work"))
    assert volumes.is_empty("work")


def test_making_it_again_gives_the_same_one(volumes: Volumes) -> None:
    first = volumes.create(Volume("work", "then"))

    assert volumes.create(Volume("work", "now")) == first
    with pytest.raises(Conflict):
        volumes.create(Volume("work", "now", options=(("size", "1"),)))


def test_one_without_a_name_gets_a_random_one_and_is_anonymous(volumes: Volumes) -> None:
    made = volumes.create(Volume("", "now"))

    assert made.is_anonymous
    assert len(made.name) == 64


def test_removing_it_removes_what_is_in_it(volumes: Volumes) -> None:
    volumes.create(Volume("work", "now"))
    Path(volumes.mount_point("work"), "file").write_text("kept")

    volumes.remove("work")

    with pytest.raises(NotFound):
        volumes.get("work")
    assert volumes.known() == []


@pytest.mark.parametrize("name", ["..", "-x", "a", "a/b", "x" * 129, "new\nline", "é1"])
def test_names_that_could_be_paths_are_refused(volumes: Volumes, name: str) -> None:
    with pytest.raises(UsageError):
        volumes.create(Volume(name, "now"))
    with pytest.raises(NotFound):
        volumes.get(name)


def test_another_driver_is_refused(volumes: Volumes) -> None:
    with pytest.raises(UsageError, match="driver"):
        volumes.create(Volume("work", "now", driver="nfs"))
