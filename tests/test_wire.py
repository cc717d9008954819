import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from builder.oci.config import RunConfig, run_config_json
from builder.oci.digest import digest_of
from builder.oci.reference import parse_reference
from builder.wire import repo_digests, rfc3339, run_config, unix_seconds

MOMENTS = st.datetimes(
    dt.datetime(1, 1, 2),  # noqa: DTZ001 - the zone is drawn below
    dt.datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(
        lambda minutes: dt.timezone(dt.timedelta(minutes=minutes))
    ),
)


@given(MOMENTS)
def test_a_time_with_any_offset_is_read(moment: dt.datetime) -> None:
    assert unix_seconds(moment.isoformat()) == int(moment.replace(microsecond=0).timestamp())


@given(st.integers(0, 253_402_300_799))
def test_written_seconds_read_back_equal(seconds: int) -> None:
    assert unix_seconds(rfc3339(seconds)) == seconds


@given(st.text(max_size=40))
def test_what_is_no_time_is_zero_or_a_number(text: str) -> None:
    assert isinstance(unix_seconds(text), int)


def test_docker_and_go_times_are_read() -> None:
    assert unix_seconds("2020-01-02T03:04:05.123456789Z") == 1_577_934_245
    assert unix_seconds("2020-01-02T03:04:05+01:00") == 1_577_930_645
    assert unix_seconds(None) == 0


def test_every_field_of_a_run_config_is_present() -> None:
    shown = run_config(RunConfig(env=("A=b",)))

    assert shown["Env"] == ["A=b"]
    assert shown["Cmd"] is None
    assert shown["User"] == ""
    assert set(run_config_json(RunConfig(env=("A=b",)))) <= set(shown)


def test_a_repository_stands_once_among_the_digests() -> None:
    digest = digest_of(b"")
    names = [parse_reference("a:1"), parse_reference("a:2"), parse_reference("x.org/b")]

    assert repo_digests(names, digest) == [f"a@{digest}", f"x.org/b@{digest}"]
