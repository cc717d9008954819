import time
from pathlib import Path

import pytest

from builder.containers.happenings import Window, described, follow, line_of, matcher
from builder.containers.journal import Happening, Journal
from builder.errors import UsageError


def nothing() -> None:
    return


def test_what_was_recorded_within_the_window_is_told_in_order(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.record("container", "start", "f" * 64, {"name": "web"})
    journal.record("container", "die", "f" * 64, {"name": "web", "exitCode": "2"})
    moment = time.time()

    found = list(follow(journal, Window(moment - 5, moment), nothing, 0.01))

    assert [happening.action for happening in found] == ["start", "die"]
    assert list(follow(journal, Window(moment - 9, moment - 5), nothing, 0.01)) == []


def test_the_status_of_a_container_that_is_gone_is_in_its_last_death(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    for identifier, code in (("a" * 64, "3"), ("a" * 64, "4"), ("b" * 64, "5")):
        journal.record("container", "die", identifier, {"name": "a" * 64, "exitCode": code})
    journal.record("container", "destroy", "a" * 64, {})

    assert journal.status_of("a" * 64) == 4
    assert journal.status_of("c" * 64) is None


def test_filters_of_one_kind_are_alternatives_and_kinds_add_up() -> None:
    happening = Happening("container", "die", "f" * 64, {"name": "web", "a": "b"}, 0)

    assert matcher({"container": ["web", "other"], "event": ["die"]})(happening)
    assert matcher({"label": ["a=b"]})(happening)
    assert not matcher({"container": ["web"], "event": ["start"]})(happening)
    with pytest.raises(UsageError):
        matcher({"colour": ["red"]})


def test_an_event_is_described_as_docker_does() -> None:
    happening = Happening(
        "container", "die", "f" * 64, {"exitCode": "2"}, 1_500_000_000_000_000_000
    )

    assert described(happening)["Actor"] == {"ID": "f" * 64, "Attributes": {"exitCode": "2"}}
    assert described(happening)["time"] == 1_500_000_000
    assert line_of(happening).startswith("2017-07-14T02:40:00.000000000Z container die ffff")
