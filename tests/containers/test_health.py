from builder.containers.health import judged
from builder.containers.model import Health, HealthEntry


def after(*codes: int, retries: int = 3, is_starting: bool = False) -> Health:
    health = Health()
    for code in codes:
        entry = HealthEntry("", "", code, "")
        health = judged(health, entry, retries=retries, is_starting=is_starting)
    return health


def test_the_first_success_is_health_and_failures_in_a_row_end_it() -> None:
    assert after(0).status == "healthy"
    assert after(0, 1, 1).status == "healthy"
    assert after(0, 1, 1, 1).status == "unhealthy"
    assert after(1, 1, 1, 0).status == "healthy"


def test_failures_while_starting_do_not_count() -> None:
    health = after(1, 1, 1, is_starting=True)

    assert (health.status, health.failing_streak) == ("starting", 0)


def test_five_results_are_kept() -> None:
    health = after(1, 2, 3, 4, 5, 6, retries=99)

    assert [entry.exit_code for entry in health.log] == [2, 3, 4, 5, 6]
    assert health.failing_streak == 6
