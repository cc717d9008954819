import os
from pathlib import Path

from builder.kernel import writeback


def test_it_changes_nothing_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = os.urandom(100_005)
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.write(fd, content)

    writeback.begin(fd)
    writeback.finish(fd)
    os.fdatasync(fd)

    assert path.read_bytes() == content
    os.close(fd)


def test_what_cannot_be_written_back_is_no_failure() -> None:
    read_fd, write_fd = os.pipe()

    writeback.begin(read_fd)
    os.close(read_fd)
    os.close(write_fd)

    writeback.begin(write_fd)
