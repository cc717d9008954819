"""Questions about a build that build nothing: its plan, and the files of its context."""

import json
from typing import Any

import pytest

from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces

DOCKERFILE = """\
FROM busybox AS tools
COPY lib /lib-src
RUN cat /lib-src/* > /built
FROM busybox
COPY --from=tools /built /built
RUN cat /built > /result
"""


def planned(site: Site, dockerfile: str) -> dict[str, Any]:
    path = site.directory / "Dockerfile"
    path.write_text(dockerfile)
    plan = json.loads(site.text("plan", "--format=json", "-f", str(path), str(site.context)))
    steps = {s["name"].partition("] ")[2].partition("@")[0]: s for s in plan["steps"]}
    return {**plan, "steps": steps}


def test_a_plan_names_what_would_run_and_runs_nothing(site: Site) -> None:
    site.write("lib/a", "a\n")
    site.build(DOCKERFILE)
    assert {s["verdict"] for s in planned(site, DOCKERFILE)["steps"].values()} == {"hit"}
    site.write("lib/a", "b\n")

    plan = planned(site, DOCKERFILE)

    verdicts = {name: step["verdict"] for name, step in plan["steps"].items()}
    assert verdicts == {
        "FROM docker.io/library/busybox:latest": "hit",
        "COPY lib /lib-src": "run",
        "RUN cat /lib-src/* > /built": "run",
        "COPY --from=tools /built /built": "perhaps",
        "RUN cat /built > /result": "perhaps",
    }
    assert plan["steps"]["COPY lib /lib-src"]["reasons"] == ["lib/a changed (content)"]
    assert plan["expected_ms"] > 0
    assert plan["never_timed"] == 0
    assert planned(site, DOCKERFILE) == plan


def test_a_plan_sees_that_an_undone_edit_costs_nothing(site: Site) -> None:
    site.write("lib/a", "a\n")
    site.build(DOCKERFILE)
    edited = DOCKERFILE.replace("/built\nFROM", "/built && true\nFROM")
    site.build(edited)

    plan = planned(site, edited + "RUN true\n")

    assert [n for n, s in plan["steps"].items() if s["verdict"] != "hit"] == ["RUN true"]


def test_the_context_tells_what_is_read_hidden_and_in_vain(site: Site) -> None:
    site.write("lib/a", "a" * 10)
    site.write("docs/manual", "m" * 1000)
    site.write("logs/x.log", "x" * 100)
    site.write("logs/keep.log", "k")
    site.write(".dockerignore", "logs/*\n!logs/keep.log\n")
    path = site.directory / "Dockerfile"
    path.write_text(DOCKERFILE.replace("busybox", "not/here"))
    words = ("context", "-f", str(path), "--format=json", str(site.context))

    found = json.loads(site.text(*words))

    files = {file["path"]: file for file in found["files"]}
    assert next(iter(files)) == "docs/manual"
    assert files["lib/a"]["readers"] == ["[tools 2/3] COPY lib /lib-src"]
    assert files["logs/x.log"]["pattern"] == "logs/*"
    assert files["logs/keep.log"]["pattern"] == "!logs/keep.log"
    assert found["hidden"] == [{"pattern": "logs/*", "files": 1, "size_bytes": 100}]
    assert [one["line"] for one in found["suggestions"]] == ["docs", "logs/keep.log"]
    why = site.text(*words[:3], "--why", "logs/x.log", str(site.context))
    assert why == "logs/x.log: kept out by the pattern logs/*"
