"""Questions about a Dockerfile, its warnings, and what `--strict` makes of them."""

import json

import pytest

from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces

OFFERING = """\
# V which busybox
ARG V=latest
FROM busybox:$V AS base
# SIZE how big
ARG SIZE=3
RUN --mount=type=secret,id=token,required=true --mount=type=ssh true $SIZE
# app the product
FROM base AS app
"""


def report(site: Site, dockerfile: str, *options: str, status: int = 0) -> str:
    path = site.directory / "Dockerfile"
    path.write_text(dockerfile)
    words = ("build", "--file", str(path), *options, str(site.context))
    return site.run(*words, status=status).stdout.decode()


def test_a_check_tells_each_warning_with_its_place_and_ends_with_1(site: Site) -> None:
    text = report(site, "FROM busybox\nCMD echo $HOME\n", "--check", status=1)

    assert "WARNING: JSONArgsRecommended" in text
    assert "   2 | >>> CMD echo $HOME" in text
    assert text.endswith("Check complete, 1 warning has been found!\n")


def test_a_check_without_findings_ends_well_and_builds_nothing(site: Site) -> None:
    text = report(site, "FROM busybox\nRUN exit 7\n", "--check")

    assert text == "Check complete, no warnings found.\n"
    assert site.text("images", "--quiet").count("\n") == 0


def test_a_note_of_ours_does_not_change_the_status_of_a_check(site: Site) -> None:
    text = report(site, "FROM busybox\nRUN ['true']\n", "--check")

    assert text.startswith("NOTE: JSONFormBroken")


def test_a_check_in_json_has_the_fields_of_the_reference(site: Site) -> None:
    text = report(site, "FROM busybox\nCMD a\n", "--call=check,format=json", status=1)

    [warning] = json.loads(text)["warnings"]
    assert warning["ruleName"] == "JSONArgsRecommended"
    assert warning["location"]["ranges"] == [{"start": {"line": 2}, "end": {"line": 2}}]


def test_a_check_in_json_tells_of_what_cannot_be_parsed(site: Site) -> None:
    text = report(site, "FROM busybox\nRNU a\n", "--call=check,format=json", status=1)

    error = json.loads(text)["buildError"]
    assert "RNU" in error["message"]
    assert error["location"]["ranges"][0]["start"]["line"] == 2


def test_an_outline_lists_arguments_secrets_and_agents(site: Site) -> None:
    text = report(site, OFFERING, "--call=outline", "--build-arg=SIZE=4")

    assert text.splitlines() == [
        "TARGET:      app", "DESCRIPTION: the product", "",
        "BUILD ARG   VALUE    DESCRIPTION", "V           latest   which busybox",
        "SIZE        4        how big", "",
        "SECRET   REQUIRED", "token    true", "",
        "SSH       REQUIRED", "default",
    ]  # fmt: skip


def test_an_outline_in_json_has_the_fields_of_the_reference(site: Site) -> None:
    outline = json.loads(report(site, OFFERING, "--call=outline,format=json"))

    assert [argument["name"] for argument in outline["args"]] == ["V", "SIZE"]
    assert outline["secrets"][0]["required"] is True
    assert outline["ssh"][0]["name"] == "default"


def test_targets_are_listed_with_their_descriptions(site: Site) -> None:
    text = report(site, OFFERING, "--call=targets")

    assert text.splitlines() == [
        "TARGET          DESCRIPTION", "base", "app (default)   the product",
    ]  # fmt: skip


def test_targets_in_json_have_the_fields_of_the_reference(site: Site) -> None:
    listed = json.loads(report(site, OFFERING, "--call=targets,format=json"))["targets"]

    assert [(one["name"], one.get("default", False)) for one in listed] == [
        ("base", False), ("app", True),
    ]  # fmt: skip


def test_a_file_may_demand_that_there_are_no_warnings(site: Site) -> None:
    built = site.build("# check=error=true\nFROM busybox\nCMD a\n", status=1)

    assert "lint violation found for rules: JSONArgsRecommended" in built.stderr
    assert "   3 | >>> CMD a" in built.stderr


def test_an_ordinary_build_tells_all_warnings_together_at_its_end(site: Site) -> None:
    site.write("a", "a")

    built = site.build("FROM busybox\nCMD x\nCOPY *.none /none/\nCOPY --chown=ghost a /a\n")

    tail = built.stderr.splitlines()[-4:]
    assert tail[0] == " 3 warnings found (use --check to see the lines):"
    assert tail[1].endswith("OS signals (Dockerfile:2)")
    assert tail[2].endswith("nothing was copied (Dockerfile:3)")
    assert tail[3].endswith("files get owner 0 (Dockerfile:4)")


@pytest.mark.parametrize(
    ("dockerfile", "options", "words", "line"),
    [
        ("FROM busybox\nCOPY *.none /x/\n", (), "no file matches", 2),
        ("FROM busybox\nCOPY a b /x\n", (), "onto the one file /x", 2),
        ("FROM busybox\nCOPY --chown=ghost a /x\n", (), "user ghost is not in", 2),
        ("FROM busybox\nCOPY --chmod=644 a /new/x\n", (), "nobody but root can enter", 2),
        ("FROM busybox\nENV A=1\nARG A=2\n", (), "hides the value", 3),
        ("FROM busybox\nCMD ['true']\n", (), "begins like a JSON array", 2),
        ("FROM busybox\nARG NAME\n", ("--build-arg=NAMR=1",), "did you mean NAME?", 1),
    ],
)
def test_what_is_only_warned_of_is_an_error_of_a_strict_build(
    site: Site, dockerfile: str, options: tuple[str, ...], words: str, line: int
) -> None:
    site.write("a")
    site.write("b")
    plain = site.build(dockerfile, *options)

    strict = site.build(dockerfile, "--strict", *options, status=1)

    assert words in plain.stderr
    assert words in strict.stderr
    assert f"Dockerfile:{line}\n" in strict.stderr
