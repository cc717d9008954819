"""The disk: what takes it, what a prune would take away, and the budget that builds keep."""

import time

import pytest

from builder.store.store import Store
from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces

NOWHERE = "--output=type=tar,dest=/dev/null"
BIG = "FROM busybox\nRUN head -c 300000 /dev/urandom > /{}\n"


def cached(site: Site) -> list[str]:
    with Store.open(str(site.state)) as store:
        return [name for (name,) in store.database.query("SELECT DISTINCT name FROM records")]


def test_a_build_keeps_the_budget_afterwards(site: Site) -> None:
    site.build(BIG.format("old"), NOWHERE)

    site.build(BIG.format("new"), NOWHERE, BUILDER_MAX_USED="400k")

    end = time.monotonic() + 10
    while time.monotonic() < end and len(cached(site)) > 1:
        time.sleep(0.05)
    assert not any("old" in name for name in cached(site))
    assert site.build("FROM busybox\nRUN true\n").status == 0


def test_a_budget_can_be_given_to_one_build(site: Site) -> None:
    site.build(BIG.format("old"), NOWHERE)

    site.build(BIG.format("new"), NOWHERE, "--max-used=400k", BUILDER_MAX_USED="9t")

    end = time.monotonic() + 10
    while time.monotonic() < end and len(cached(site)) > 1:
        time.sleep(0.05)
    assert not any("old" in name for name in cached(site))
    built = site.build(BIG.format("new"), "--min-free=much", status=2)
    assert "'much' is not a size" in built.stderr


def test_a_budget_that_makes_no_sense_is_a_warning(site: Site) -> None:
    built = site.build(BIG.format("new"), NOWHERE, BUILDER_MAX_USED="much")

    assert "'much' is not a size" in built.stderr


def test_a_dry_run_removes_nothing_and_tells_what_a_prune_does(site: Site) -> None:
    site.build(BIG.format("a"), NOWHERE)

    foreseen = site.text("prune", "--dry-run")
    step = "Deleted build cache objects:"
    assert step in foreseen
    assert len(cached(site)) == 1
    site.run("prune", "--dry-run", "--force", "--max-used=1g")
    removed = site.text("prune", "--force")

    assert foreseen.partition(step)[2] == removed.partition(step)[2]
    assert cached(site) == []


def test_a_dry_run_counts_what_stopped_containers_hold(site: Site) -> None:
    site.build(BIG.format("a"), "--tag=app")
    site.container("app", "true")
    site.run("create", "--name=one", "--network=none", "--volume=/data", "app", "true")
    site.run("rmi", "--force", "busybox")

    foreseen = site.text("prune", "--all", "--volumes", "--dry-run")
    removed = site.text("prune", "--all", "--volumes", "--force")

    assert "Deleted Images:" in foreseen
    assert "Deleted Volumes:" in foreseen
    assert foreseen.partition("\n\n")[2] == removed
    assert site.text("images", "--quiet") == ""


def test_limits_leave_as_much_cache_as_they_say(site: Site) -> None:
    site.build(BIG.format("a"), NOWHERE)

    assert step_count(site, "--max-used=10m") == 0
    assert step_count(site, "--keep-storage=10m") == 0
    assert step_count(site, "--until=1h") == 0
    assert step_count(site, "--max-used=1k") >= 1


def step_count(site: Site, *options: str) -> int:
    text = site.text("builder", "prune", "--dry-run", "--verbose", *options)
    return text.count("RUN head")


def test_df_says_who_holds_what(site: Site) -> None:
    site.build(BIG.format("a"), "--tag=app")

    assert "app:latest" in site.text("df", "-v").partition("Build cache")[2]
    assert "Build Cache" in site.text("df")
