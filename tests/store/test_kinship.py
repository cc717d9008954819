from pathlib import Path

from builder.store.kinship import are_related, kin_of, note


def test_what_was_noted_is_read_again(tmp_path: Path) -> None:
    kin = frozenset({(3, ""), (12, "a b/\n"), (12, "c")})

    note(str(tmp_path), kin)

    assert kin_of(str(tmp_path)) == kin


def test_without_kin_there_is_no_file(tmp_path: Path) -> None:
    note(str(tmp_path), frozenset())

    assert list(tmp_path.iterdir()) == []
    assert kin_of(str(tmp_path)) == frozenset()


def test_those_are_related_whose_paths_overlap() -> None:
    shown = frozenset({(1, "usr/lib"), (2, "")})

    assert are_related({(1, "usr")}, shown)
    assert are_related({(1, "usr/lib/x")}, shown)
    assert are_related({(2, "anything")}, shown)
    assert not are_related({(1, "usr/libexec")}, shown)
    assert not are_related({(3, "usr/lib")}, shown)
