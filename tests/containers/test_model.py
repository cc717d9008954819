import os

from hypothesis import given
from hypothesis import strategies as st

from builder.containers import model
from builder.containers.model import State, has_monitor, monitored
from builder.containers.names import random_name
from builder.networks.model import check_name


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_a_time_survives_being_written_and_read(time_ns: int) -> None:
    assert abs(model.parse_time(model.rfc3339(time_ns)) - time_ns / 10**9) < 1e-6


def test_a_time_may_have_an_offset_and_none_is_zero() -> None:
    assert model.parse_time("2024-01-01T01:00:00.5+01:00") == model.parse_time(
        "2024-01-01T00:00:00.5Z"
    )
    assert model.parse_time(model.NEVER) == 0


def test_this_process_is_a_living_monitor_and_a_past_one_is_none() -> None:
    state = monitored(State())

    assert has_monitor(state)
    assert state.monitor_pid == os.getpid()
    assert not has_monitor(state._replace(monitor_ticks=1))


def test_ids_make_host_names_and_names_are_valid() -> None:
    assert not model.new_id()[:12].isdigit()
    for attempt in range(20):
        assert check_name(random_name(attempt), "container")
