from builder.containers.request import RestartRequest
from builder.containers.restart import RestartPolicy


def delays(policy: str, *ends: tuple[int, float], maximum: int = 0) -> list[float | None]:
    chosen = RestartPolicy(RestartRequest(policy, maximum))
    return [chosen.delay_s(status, ran_s=ran_s) for status, ran_s in ends]


def test_no_policy_means_no_restart() -> None:
    assert delays("no", (1, 0)) == [None]


def test_on_failure_counts_its_starts_and_ignores_success() -> None:
    assert delays("on-failure", (1, 0), (1, 0), (1, 0), maximum=2) == [0.1, 0.2, None]
    assert delays("on-failure", (0, 0)) == [None]


def test_the_delay_doubles_up_to_a_minute_and_begins_anew_after_a_long_run() -> None:
    found = delays("always", *[(0, 0.0)] * 12, (0, 20.0), (0, 0.0))

    assert found[:4] == [0.1, 0.2, 0.4, 0.8]
    assert found[11] == 60
    assert found[12:] == [0.1, 0.2]
