"""Sessions of file systems."""

from pathlib import Path

from builder.store.session import Session


def test_a_session_is_itself_after_being_written_down(tmp_path: Path) -> None:
    session = Session.of(str(tmp_path))

    session.write(str(tmp_path / "session"))

    assert session.boot_id
    assert Session.read(str(tmp_path / "session")) == session


def test_another_boot_or_another_mount_is_another_session() -> None:
    session = Session("boot", 7)

    assert session.may_be(Session("boot", 7))
    assert not session.may_be(Session("other", 7))
    assert not session.may_be(Session("boot", 8))
    assert not session.may_be(None)


def test_an_unknown_mount_proves_nothing() -> None:
    assert Session("boot", 7).may_be(Session("boot", 0))
    assert Session("boot", 0).may_be(Session("boot", 7))


def test_nonsense_is_no_session(tmp_path: Path) -> None:
    path = tmp_path / "session"

    assert Session.read(str(path)) is None
    for text in ("", "boot", "boot x", "a b c", "\udcff"):
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        assert Session.read(str(path)) is None
