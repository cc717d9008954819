"""A COPY that corrects its earlier result comes to the layer of one that begins anew."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.site import Site

pytestmark = pytest.mark.root

MANY = 130
OLD_S = 1_500_000_000
DOCKERFILE = "FROM busybox\nRUN mkdir /app && echo base > /app/base\nCOPY . /app\n"


def fill(site: Site) -> None:
    for number in range(MANY):
        path = site.write(f"d{number % 5}/e{number % 3}/f{number}", f"{number}\n" * number)
        path.chmod((0o644, 0o755, 0o600)[number % 3])
    os.symlink("f0", site.context / "d0/link")
    (site.context / "empty").mkdir()
    settle(site)


def settle(site: Site) -> None:
    """Give all a time of long ago, but for what says otherwise by being newer than an hour."""
    for directory, names, files in os.walk(site.context, topdown=False):
        for name in (*names, *files):
            os.utime(Path(directory, name), (OLD_S, OLD_S), follow_symlinks=False)
    os.utime(site.context, (OLD_S, OLD_S))


def top_layer(site: Site, dockerfile: str, *options: str) -> str:
    """Build and give the diff ID of the last layer."""
    site.build(dockerfile, "--tag", "it", *options)
    found: list[str] = json.loads(
        site.text("image", "inspect", "it", "--format", "{{json .RootFS.Layers}}")
    )
    return found[-1]


def patches(site: Site) -> int:
    """Count the snapshots that stand on an earlier result of their own step."""
    return sum(
        1
        for made in site.state.glob("snapshots/*/made")
        if len(list((made.parent / "diff").rglob("f*"))) < MANY // 2
    )


def change_content(context: Path) -> None:
    (context / "d1/e1/f1").write_text("changed")


def change_much_in_little(context: Path) -> None:
    (context / "d1/e1/f1").write_text("longer than before by some blocks" * 100)
    (context / "d2/e2/f2").write_text("")
    (context / "d4/e2/f14").chmod(0o640)
    os.utime(context / "d4/e1/f4", (OLD_S + 5, OLD_S + 5))


def add(context: Path) -> None:
    (context / "d0/new/deep").mkdir(parents=True)
    (context / "d0/new/deep/file").write_text("new")
    (context / "0first").write_text("first")
    (context / "zlast").symlink_to("d0")


def remove(context: Path) -> None:
    (context / "d0/link").unlink()
    (context / "d3/e0/f3").unlink()
    (context / "empty").rmdir()


def rename(context: Path) -> None:
    (context / "d3/e0/f3").rename(context / "d3/e0/f3 renamed")
    (context / "empty").rename(context / "hollow")


def change_directory(context: Path) -> None:
    (context / "d3").chmod(0o700)
    os.utime(context / "d4", (OLD_S + 9, OLD_S + 9))


def change_link(context: Path) -> None:
    (context / "d0/link").unlink()
    (context / "d0/link").symlink_to("elsewhere")


def name_like_a_neighbour(context: Path) -> None:
    """Names around a directory's, in the order of the walk and in that of plain text."""
    for name in ("d1.x", "d1-x", "d10", "d1é", "d"):
        (context / name).write_text(name)


EDITS = (
    change_content,
    change_much_in_little,
    add,
    remove,
    rename,
    change_directory,
    change_link,
    name_like_a_neighbour,
)


def is_rebuilt_as_new(site: Site, dockerfile: str = DOCKERFILE) -> bool:
    rebuilt = top_layer(site, dockerfile)
    for made in site.state.glob("snapshots/*/made"):
        made.unlink()
    return rebuilt == top_layer(site, dockerfile, "--no-cache")


@pytest.mark.parametrize("edit", EDITS)
def test_a_corrected_copy_is_the_layer_of_a_new_one(
    site: Site, edit: Callable[[Path], None]
) -> None:
    fill(site)
    first = top_layer(site, DOCKERFILE)
    edit(site.context)

    rebuilt = top_layer(site, DOCKERFILE)
    is_patched = patches(site) == 1
    clean = is_rebuilt_as_new(site)

    assert rebuilt != first
    assert is_patched
    assert clean


def test_corrections_of_corrections_stay_right_and_end(site: Site) -> None:
    fill(site)
    top_layer(site, DOCKERFILE)
    for number in range(20):
        EDITS[number % 2](site.context)
        (site.context / f"d{number % 5}/e0/n{number}").write_text(str(number))
        (site.context / "d0/e0/counted").write_text(str(number))
        if number % 3 == 2:
            (site.context / f"d{(number - 2) % 5}/e0/n{number - 2}").unlink()
        top_layer(site, DOCKERFILE)

    assert patches(site) == 19  # the seventeenth began anew
    assert is_rebuilt_as_new(site)


def become_a_directory(context: Path) -> None:
    (context / "d1/e1/f1").unlink()
    (context / "d1/e1/f1").mkdir()


def become_two_names(context: Path) -> None:
    os.link(context / "d1/e1/f1", context / "d1/e1/other")


def uncover(context: Path) -> None:
    """Remove what hides a file of the base."""
    (context / "base").unlink()


@pytest.mark.parametrize("edit", [become_a_directory, become_two_names, uncover])
def test_what_cannot_be_corrected_is_copied_anew(site: Site, edit: Callable[[Path], None]) -> None:
    site.write("base", "hides the base's")
    fill(site)
    top_layer(site, DOCKERFILE)
    edit(site.context)

    top_layer(site, DOCKERFILE)

    assert patches(site) == 0
    assert is_rebuilt_as_new(site)
    assert site.text("run", "--rm", "it", "cat", "/app/base") == (
        "base" if edit is uncover else "hides the base's"
    )


def test_another_base_is_no_ground_for_corrections(site: Site) -> None:
    fill(site)
    top_layer(site, DOCKERFILE)
    change_content(site.context)

    other = top_layer(site, DOCKERFILE.replace("echo base", "echo other"))

    assert patches(site) == 0
    assert other == top_layer(site, DOCKERFILE)


def test_options_hold_for_what_is_corrected(site: Site) -> None:
    fill(site)
    dockerfile = (
        "FROM busybox\nWORKDIR /app\nCOPY --chown=5:6 --chmod=u=rwX,go=rX --exclude=d2 . .\n"
        "RUN echo later > d1/e1/later\n"
    )
    site.build(dockerfile, "--tag", "it")
    for number, edit in enumerate((change_content, add, remove)):
        edit(site.context)
        site.build(dockerfile, "--tag", "it")
        assert patches(site) == number + 1

    shown = site.text("run", "--rm", "it", "ls", "-ln", "/app/d0/new/deep/file", "/app/d1/e1")

    assert "-rw-r--r--    1 5        6                3" in shown
    assert "later" in shown
    assert site.text("run", "--rm", "it", "sh", "-c", "ls /app/d3/e0/f3 || echo gone") == "gone"


def test_the_store_is_whole_and_can_be_emptied(site: Site) -> None:
    fill(site)
    top_layer(site, DOCKERFILE)
    change_content(site.context)
    top_layer(site, DOCKERFILE)

    assert site.text("fsck") == ""
    site.run("builder", "prune", "--all", "--force")
    assert site.text("run", "--rm", "it", "cat", "/app/d1/e1/f1") == "changed"
    site.run("image", "rm", "--force", "it")
    site.run("builder", "prune", "--all", "--force")
    site.run("image", "prune", "--all", "--force")
    assert list(site.state.glob("snapshots/*")) == []
