"""What runs again after a change, and what does not."""

import os

import pytest

from tests.end_to_end.processes import eventually
from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces

STAGES = """\
FROM busybox AS tools
RUN echo tools > /tools
COPY lib /lib-src
RUN cat /lib-src/* > /built
FROM busybox
COPY --from=tools /built /built
COPY page /page
RUN cat /built /page > /result
"""


@pytest.fixture
def project(site: Site) -> Site:
    site.write("lib/a", "a\n")
    site.write("page", "page\n")
    site.write("unrelated", "1")
    return site


def test_an_unchanged_build_runs_nothing(project: Site) -> None:
    first = project.build(STAGES, "--tag=app")
    before = project.inspect("app")["Id"]

    second = project.build(STAGES, "--tag=app")

    assert not any(first.steps.values())
    assert all(second.steps.values())
    assert project.inspect("app")["Id"] == before


def test_a_file_that_nothing_copies_changes_nothing(project: Site) -> None:
    project.build(STAGES)
    project.write("unrelated", "2")

    again = project.build(STAGES)

    assert all(again.steps.values())


def test_an_edit_runs_what_depends_on_it(project: Site) -> None:
    project.build(STAGES)
    project.write("page", "new page\n")

    again = project.build(STAGES)

    assert again.is_cached("RUN echo tools")
    assert again.is_cached("RUN cat /lib-src/*")
    assert not again.is_cached("COPY page")
    assert not again.is_cached("RUN cat /built")


def test_a_rebuilt_stage_with_the_same_result_lets_the_rest_hit(project: Site) -> None:
    project.build(STAGES)

    again = project.build(STAGES.replace("echo tools > /tools", "echo other > /tools"))

    assert not again.is_cached("RUN cat /lib-src/*")
    assert again.is_cached("RUN cat /built")


def test_an_argument_matters_to_the_steps_that_see_it(project: Site) -> None:
    dockerfile = "FROM busybox\nRUN echo before\nARG V=1\nRUN echo $V > /v\n"
    project.build(dockerfile)

    again = project.build(dockerfile, "--build-arg=V=2")

    assert again.is_cached("RUN echo before")
    assert not again.is_cached("> /v")


def test_no_cache_runs_everything(project: Site) -> None:
    project.build(STAGES)

    again = project.build(STAGES, "--no-cache")

    assert not again.is_cached("RUN echo tools")
    assert not again.is_cached("RUN cat /built")


def test_a_target_needs_only_its_own_stages(project: Site) -> None:
    dockerfile = """\
FROM busybox AS one
RUN echo one > /name
FROM busybox AS broken
RUN exit 1
FROM one AS last
"""

    built = project.build(dockerfile, "--target=one")

    assert list(built.steps) != []
    assert not any("exit 1" in step for step in built.steps)
    project.build(dockerfile)


def test_independent_stages_run_at_the_same_time(project: Site) -> None:
    """Each of two steps waits for a file that the other one writes."""
    meet = """\
RUN --mount=type=cache,target=/meet \
    touch /meet/{0}; for i in $(seq 200); do test -e /meet/{1} && exit 0; sleep 0.05; done; exit 1
"""

    project.build(
        f"FROM busybox AS a\n{meet.format('a', 'b')}FROM busybox AS b\n{meet.format('b', 'a')}"
        "FROM scratch\nCOPY --from=a /bin/true /a\nCOPY --from=b /bin/true /b\n"
    )


def test_mode_and_name_of_a_copied_file_matter(project: Site) -> None:
    dockerfile = "FROM busybox\nCOPY lib /l\nRUN ls -l /l\n"
    project.build(dockerfile)

    (project.context / "lib/a").chmod(0o755)
    assert not project.build(dockerfile).is_cached("RUN ls")

    (project.context / "lib/a").rename(project.context / "lib/b")
    assert not project.build(dockerfile).is_cached("RUN ls")


def test_a_touched_file_with_the_same_content_hits(project: Site) -> None:
    project.build(STAGES)
    project.write("page", "page\n")

    assert all(project.build(STAGES).steps.values())


def test_an_argument_from_the_environment_is_never_answered_from_memory(site: Site) -> None:
    site.write("Dockerfile", "FROM busybox\nARG A\nLABEL a=$A\n")
    os.utime(site.context / "Dockerfile", (1, 1))
    states = site.state / "fast"

    site.run("build", "--tag=app", "--build-arg=A", str(site.context), A="1")
    asked = list(states.iterdir()) if states.is_dir() else []
    site.run("build", "--tag=app", "--build-arg=A=1", str(site.context))

    assert asked == []
    assert eventually(lambda: states.is_dir() and any(states.iterdir()))
