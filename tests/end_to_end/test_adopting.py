"""A COPY of a stage's directory to the same place takes the stage's layer where it can."""

import json

import pytest

from tests.end_to_end.site import Site

STAGE = (
    "FROM busybox AS made\n"
    "RUN mkdir -p /t/d && echo 1 > /t/d/one && ln /t/d/one /t/two && ln -s one /t/d/link"
    " && chmod 4750 /t/d/one && mkfifo /t/d/pipe{more}\n"
    "FROM busybox\nRUN echo {own} > /own{last}\n"
)


def layers(site: Site, dockerfile: str) -> list[str]:
    site.build(dockerfile, "--tag", "it")
    found: list[str] = json.loads(
        site.text("image", "inspect", "it", "--format", "{{json .RootFS.Layers}}")
    )
    return found


def dockerfile(copy: str, *, more: str = "", last: str = "", own: str = "x") -> str:
    return STAGE.format(more=more, last=last, own=own) + copy + "\n"


def adopted(site: Site) -> int:
    """Count the snapshots that have no directory of changes of their own."""
    return sum(not (one / "diff").exists() for one in site.state.glob("snapshots/*"))


def ordinary(text: str) -> str:
    """Leave out the pipe, which is not taken over."""
    return text.replace(" && mkfifo /t/d/pipe", "")


@pytest.mark.parametrize("place", ["/t", "/t/", "t", "/./t"])
def test_the_layer_is_that_of_a_copy(site: Site, place: str) -> None:
    taken = layers(site, ordinary(dockerfile(f"COPY --from=made /t {place}")))
    is_adopted = adopted(site) == 1
    copied = layers(site, ordinary(dockerfile("COPY --from=made /[t] /t")))

    assert is_adopted
    assert taken == copied
    assert site.text("run", "--rm", "it", "cat", "/t/d/one", "/t/d/link", "/own") == "1\n1\nx"


def test_on_another_base_it_is_the_same_layer(site: Site) -> None:
    first = layers(site, ordinary(dockerfile("COPY --from=made /t /t")))
    second = layers(site, ordinary(dockerfile("COPY --from=made /t /t\nRUN rm /t/two", own="y")))

    assert first[2] == second[2]
    assert first[1] != second[1]
    assert adopted(site) == 2
    assert site.text("run", "--rm", "it", "ls", "/t") == "d"


@pytest.mark.parametrize(
    ("copy", "more", "last"),
    [
        ("COPY --from=made /t /other", "", ""),
        ("COPY --from=made /t/d /t/d", "", ""),
        ("COPY --from=made --chown=1:1 /t /t", "", ""),
        ("COPY --from=made --chmod=755 /t /t", "", ""),
        ("COPY --from=made --exclude=d /t /t", "", ""),
        ("COPY --from=made /t /t", " && mkfifo /t/odd", ""),
        ("COPY --from=made /t /t", " && chmod 700 /t", ""),
        ("COPY --from=made /t /t", " && chown 1 /t", ""),
        ("COPY --from=made /t /t", " && echo > /elsewhere", ""),
        ("COPY --from=made /t /t", " && touch /home", ""),
        ("COPY --from=made /t /t", " && chmod 711 /", ""),
        ("COPY --from=made /t /t", "\nRUN echo > /t/later", ""),
        ("COPY --from=made /t /t", "", " && mkdir /t"),
        ("COPY --from=made /t /t", "", " && ln -s tmp /t"),
        ("COPY --from=made /t /t", "", "\nRUN mkdir /t && rmdir /t && chmod 711 /"),
    ],
)
def test_what_means_something_else_is_copied(site: Site, copy: str, more: str, last: str) -> None:
    layers(site, ordinary(dockerfile(copy, more=more, last=last)))

    assert adopted(site) == 0


def test_a_stage_that_stands_on_itself_is_copied(site: Site) -> None:
    text = ordinary(dockerfile("COPY --from=made /t /t")).replace(
        "FROM busybox\n", "FROM made\nRUN rm -r /t\n"
    )

    layers(site, text)

    assert adopted(site) == 0
    assert site.text("run", "--rm", "it", "cat", "/t/two") == "1"


def test_the_stage_stays_as_long_as_it_is_needed(site: Site) -> None:
    layers(site, ordinary(dockerfile("COPY --from=made /t /t")))

    site.run("builder", "prune", "--all", "--force")

    assert site.text("fsck") == ""
    assert site.text("run", "--rm", "it", "cat", "/t/two") == "1"
    site.run("image", "rm", "--force", "it", "busybox")
    site.run("builder", "prune", "--all", "--force")
    site.run("image", "prune", "--all", "--force")
    assert list(site.state.glob("snapshots/*")) == []
