import io
import os
import tarfile
from pathlib import Path

import pytest

from builder.containers import copying
from builder.containers.copying import Rules
from builder.errors import Conflict, NotFound

RULES = Rules(None, keeps_special_bits=False)


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    container, host = tmp_path / "container", tmp_path / "host"
    for root in (container, host):
        root.mkdir()
    return container, host


def copy(source_root: Path, source: str, dest_root: Path, dest: str) -> None:
    from_fd = os.open(source_root, os.O_RDONLY)
    to_fd = os.open(dest_root, os.O_RDONLY)
    try:
        place, is_content = copying.source_in(from_fd, source, follow_links=False)
        try:
            copying.copy(
                place,
                is_content=is_content,
                name=os.path.basename(os.path.normpath(source)),
                root_fd=to_fd,
                dest=dest,
                rules=RULES,
            )
        finally:
            os.close(place.parent_fd)
    finally:
        os.close(from_fd)
        os.close(to_fd)


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_a_file_becomes_the_destination_or_goes_into_it(roots: tuple[Path, Path]) -> None:
    container, host = roots
    (container / "f").write_text("x")
    (host / "d").mkdir()

    copy(container, "/f", host, "/new")
    copy(container, "/f", host, "/d")

    assert tree(host) == {"new", "d", "d/f"}


def test_a_directory_goes_inside_an_existing_one_unless_its_content_is_meant(
    roots: tuple[Path, Path],
) -> None:
    container, host = roots
    (container / "d/s").mkdir(parents=True)
    (container / "d/s/f").write_text("x")
    (container / "d/l").symlink_to("s/f")
    (host / "there").mkdir()

    copy(container, "/d", host, "/there")
    copy(container, "/d/.", host, "/there")
    copy(container, "/d", host, "/new")

    assert {"there/d/s/f", "there/s/f", "new/s/f"} <= tree(host)
    assert os.readlink(host / "new/l") == "s/f"


def test_what_makes_no_sense_is_refused(roots: tuple[Path, Path]) -> None:
    container, host = roots
    (container / "d").mkdir()
    (container / "f").write_text("x")
    (host / "file").write_text("old")

    with pytest.raises(Conflict):
        copy(container, "/d", host, "/file")
    with pytest.raises(NotFound):
        copy(container, "/f", host, "/missing/")
    with pytest.raises(NotFound):
        copy(container, "/absent", host, "/x")
    with pytest.raises(NotFound):
        copy(container, "/f", host, "/no/such/place")


def test_a_link_in_the_container_leads_nowhere_else(roots: tuple[Path, Path]) -> None:
    container, host = roots
    (host / "secret").write_text("secret")
    (container / "out").symlink_to(host)
    (container / "f").write_text("x")

    copy(host, "/secret", container, "/f")
    with pytest.raises(NotFound):
        copy(container, "/out/secret", host, "/copy")
    with pytest.raises(NotFound):
        copy(host, "/secret", container, "/out/pwned")

    assert not (host / "pwned").exists()
    assert (container / "f").read_text() == "secret"


def test_set_user_id_bits_do_not_travel(roots: tuple[Path, Path]) -> None:
    container, host = roots
    (container / "f").write_text("x")
    (container / "f").chmod(0o4755)

    copy(container, "/f", host, "/f")

    assert (host / "f").stat().st_mode & 0o7777 == 0o755


def test_an_archive_of_a_tree_has_its_members_below_the_name(roots: tuple[Path, Path]) -> None:
    container, _host = roots
    (container / "d").mkdir()
    (container / "d/f").write_text("content")
    out = bytearray()
    fd = os.open(container, os.O_RDONLY)
    place, is_content = copying.source_in(fd, "/d", follow_links=False)

    copying.write_tar(place, is_content=is_content, name="d", write=out.extend)

    os.close(place.parent_fd)
    os.close(fd)
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        assert archive.getnames() == ["d", "d/f"]
        member = archive.extractfile("d/f")
        assert member is not None
        assert member.read() == b"content"
