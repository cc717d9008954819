"""Why steps ran, from two journals; and journals on disk."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.engine import journal
from builder.engine.explain import Report, changed_files, pairs, reports
from builder.engine.journal import Journal, Read, Step
from builder.graph.describe import described, is_secret
from builder.graph.ops import Exec
from builder.graph.vertex import Selector
from builder.layers.brief import Briefs, packed_brief

CONTEXT = Step("context", "context", (), (), "c", None)


def run(
    command: str, *env: str, parent: int | None = None, fast: str = "f", number: int = 1
) -> Step:
    op = Exec(("/bin/sh", "-c", command), env)
    fields = described(op, frozenset({"VERSION", "TOKEN"}))
    name = f"[{number}/9] RUN {command}"
    reads = () if parent is None else (Read(parent, None, None),)
    return Step(name, "exec", fields, reads, fast, 5)


def copy(path: str, fast: str = "f") -> Step:
    reads = (Read(0, "context", (Selector(path),)),)
    return Step(f"[2/9] COPY {path} .", "files", (("source", path),), reads, fast, 1)


def base(digest: str) -> Step:
    return Step(f"[1/9] FROM debian@{digest}", "image", (("base", digest),), (), digest, 1)


def build(*steps: Step, **files: bytes) -> Journal:
    listing = {name.replace("__", "/").replace("_", "."): body for name, body in files.items()}
    return Journal(1, steps, {"context": briefs(listing)}, {})


def briefs(listing: dict[str, bytes]) -> Briefs:
    """Make briefs of paths with `mode content`."""
    folders: dict[str, list[tuple[str, int, bytes]]] = {}
    for path, body in listing.items():
        directory, _, name = path.rpartition("/")
        mode, _, content = body.partition(b" ")
        folders.setdefault(directory, []).append((name, int(mode, 8), content.ljust(32)))
    return {directory: packed_brief(files) for directory, files in folders.items()}


def why(old: Journal, new: Journal, missed: int) -> list[str]:
    outcome = {i: i < missed for i in range(len(new.steps))}
    found: list[Report] = reports(old, new, outcome)
    return [change.text for change in next(r for r in found if not r.is_hit).changes]


def test_a_changed_file_is_named_with_what_changed() -> None:
    old = build(CONTEXT, copy("src"), src=b"40755 ", src__app_py=b"100644 a", src__gone=b"100644 x")
    new = build(CONTEXT, copy("src"), src=b"40755 ", src__app_py=b"100644 b", src__new=b"100644 c")

    assert why(old, new, 1) == [
        "src/app.py changed (content), src/gone removed, src/new added",
    ]


def test_a_changed_mode_is_named() -> None:
    old = build(CONTEXT, copy("tool"), tool=b"100644 a")
    new = build(CONTEXT, copy("tool"), tool=b"100755 a")

    assert why(old, new, 1) == ["tool changed (mode 0644 → 0755)"]


def test_files_that_the_step_does_not_read_are_not_named() -> None:
    selectors = (Selector("src"),)

    assert changed_files(briefs({"srcs": b"1 a", "doc": b"1 a"}), {}, selectors) == []


def test_a_build_argument_is_told_from_a_variable() -> None:
    old = build(run("make", "VERSION=1.2", "MODE=a"))
    new = build(run("make", "VERSION=1.3", "MODE=b", fast="g"))

    assert why(old, new, 0) == ["ARG VERSION 1.2 → 1.3", "ENV MODE a → b"]


def test_a_secret_value_is_not_shown() -> None:
    old = build(run("make", "TOKEN=hunter2"))
    new = build(run("make", "TOKEN=hunter3", fast="g"))

    [text] = why(old, new, 0)

    assert text == "ARG TOKEN changed (its value is not shown)"
    assert "hunter" not in repr(old)


def test_an_edited_command_is_the_same_step() -> None:
    old = build(base("sha256:a"), run("make", parent=0), run("test", parent=1))
    new = build(base("sha256:a"), run("make all", parent=0, fast="g"), run("test", parent=1))

    assert why(old, new, 1) == ["command text changed: make → make all"]


def test_an_inserted_step_is_new_and_the_next_ran_after_it() -> None:
    old = build(base("sha256:a"), run("test", parent=0))
    new = build(base("sha256:a"), run("make", parent=0), run("test", parent=1, number=2))

    found = reports(old, new, {0: True, 1: False, 2: False})

    assert found[1].changes[0].kind == "new"
    assert [c.text for c in found[2].changes] == ["after [1/9] RUN make, which ran"]


def test_a_new_base_is_named_by_digest() -> None:
    old = build(base("sha256:" + "a" * 64), run("make", parent=0))
    new = build(base("sha256:" + "b" * 64), run("make", parent=0, fast="g"))

    found = reports(old, new, {0: False, 1: False})

    assert found[1].changes[0].text == f"base digest {'a' * 12}… → {'b' * 12}…"


def test_a_step_that_differs_in_nothing_lost_its_record() -> None:
    old = build(run("make"))

    assert reports(old, old, {0: False})[0].changes[0].kind == "lost"


def test_control_characters_are_shown_escaped() -> None:
    old, new = build(run("a")), build(run("\x1b[31m", fast="g"))

    assert "\x1b" not in why(old, new, 0)[0]


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_pairs_are_one_to_one_and_in_order(old: list[str], new: list[str]) -> None:
    found = pairs([run(text) for text in old], [run(text) for text in new])

    assert list(found) == sorted(found)
    assert list(found.values()) == sorted(set(found.values()))


def test_a_journal_comes_back_as_it_was(tmp_path: Path) -> None:
    path = str(tmp_path / "journals" / "x")
    known = build(CONTEXT, copy("src"), run("make", "A=\udcff"), src=b"100644 a")

    journal.write(path, known)

    assert journal.read(path) == known


def test_a_damaged_journal_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x"
    journal.write(str(path), build(CONTEXT))
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")

    assert journal.read(str(path)) is None


@pytest.mark.parametrize("name", ["API_TOKEN", "db_password", "AWS_SECRET_ACCESS_KEY"])
def test_names_that_promise_secrets(name: str) -> None:
    assert is_secret(name)
