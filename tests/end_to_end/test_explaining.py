"""Builds that say why their steps ran."""

import json
from typing import Any

import pytest

from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces

DOCKERFILE = """\
FROM busybox AS tools
ARG VERSION=1
COPY lib /lib-src
RUN cat /lib-src/* > /built && echo $VERSION
FROM busybox
COPY --from=tools /built /built
RUN cat /built > /result
"""


@pytest.fixture
def project(site: Site) -> Site:
    site.write("lib/a", "a\n")
    site.write("lib/b", "b\n")
    site.write("unrelated", "1")
    site.build(DOCKERFILE)
    return site


def explained(site: Site, dockerfile: str, *options: str) -> dict[str, dict[str, Any]]:
    built = site.build(dockerfile, "--explain=json", *options)
    steps = json.loads(built.stdout)["steps"]
    return {step["name"].partition("] ")[2].partition("@")[0]: step for step in steps}


def test_an_edit_is_named_and_so_is_what_it_led_to(project: Site) -> None:
    project.write("lib/b", "bb\n")
    project.write("lib/c", "c\n")

    steps = explained(project, DOCKERFILE)

    copy = steps["COPY lib /lib-src"]
    assert copy["result"] == "miss"
    assert copy["changes"][0]["files"] == [
        {"path": "lib/b", "change": "content"},
        {"path": "lib/c", "change": "added"},
    ]
    assert "COPY lib" in steps["RUN cat /lib-src/* > /built && echo 1"]["changes"][0]["text"]
    assert steps["COPY --from=tools /built /built"]["changes"][0]["files"] == [
        {"path": "built", "change": "content"}
    ]


def test_the_first_miss_is_told_in_one_line_by_default(project: Site) -> None:
    built = project.build(DOCKERFILE, "--build-arg=VERSION=2")

    assert "ran again: ARG VERSION 1 → 2" in built.stderr
    assert built.stdout == ""


def test_an_unchanged_build_says_nothing_and_all_hits(project: Site) -> None:
    assert "ran again" not in project.build(DOCKERFILE).stderr
    assert {s["result"] for s in explained(project, DOCKERFILE).values()} == {"hit"}


def test_the_text_names_every_step(project: Site) -> None:
    text = project.build(DOCKERFILE.replace("/result", "/other"), "--explain").stdout

    assert "MISS  [stage-1 3/3] RUN cat /built > /other" in text
    assert "command text changed: cat /built > /result → cat /built > /other" in text
    assert "HIT   [tools 2/3] COPY lib /lib-src" in text


def test_ignoring_the_cache_is_a_reason(project: Site) -> None:
    steps = explained(project, DOCKERFILE, "--no-cache")

    assert steps["COPY lib /lib-src"]["changes"][0]["kind"] == "forced"


def test_a_step_that_failed_is_explained_when_it_runs_again(project: Site) -> None:
    failing = DOCKERFILE + "RUN false\n"
    project.build(failing, status=1)

    built = project.build(failing, "--explain", status=1)

    assert "the step was not done when the last build ended" in built.stderr
