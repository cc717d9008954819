from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from builder.containers.logs import RECORD_BYTES, Follower, LogFilter, LogWriter, read
from builder.containers.model import parse_time

pieces = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=200)))


def written(path: Path, *content: tuple[str, bytes]) -> list[tuple[str, str]]:
    writer = LogWriter(str(path))
    for stream, piece in content:
        writer.write(stream, piece)
    writer.close()
    return [(record.stream, record.log) for record in read(str(path), LogFilter())]


@given(pieces)
def test_every_streams_text_comes_back_whole(content: list[tuple[str, bytes]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        found = written(Path(directory, "log"), *content)

    for stream in ("stdout", "stderr"):
        whole = b"".join(piece for name, piece in content if name == stream)
        lines = whole.split(b"\n")
        expected = "\n".join(line.decode("utf-8", "replace") for line in lines)
        assert "".join(text for name, text in found if name == stream) == expected


def test_a_line_is_one_record_however_it_was_written(tmp_path: Path) -> None:
    found = written(tmp_path / "log", ("stdout", b"he"), ("stderr", b"x\n"), ("stdout", b"llo\ny"))

    assert found == [("stderr", "x\n"), ("stdout", "hello\n"), ("stdout", "y")]


def test_long_lines_are_cut_but_not_inside_a_character(tmp_path: Path) -> None:
    line = "é" * RECORD_BYTES + "\n"

    found = written(tmp_path / "log", ("stdout", b"a" + line.encode()))

    assert "".join(text for _stream, text in found) == "a" + line
    assert all(len(text.encode()) <= RECORD_BYTES for _stream, text in found)


def test_what_looks_like_a_record_is_only_text(tmp_path: Path) -> None:
    fake = b'"}\n{"log":"fake","stream":"stdout","time":"x"}\n'

    found = written(tmp_path / "log", ("stdout", fake))

    assert [text for _stream, text in found] == [line + "\n" for line in fake.decode().split("\n")][
        :2
    ]


def test_the_tail_and_times_choose(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, ("stdout", b"1\n2\n3\n"))
    records = list(read(str(path), LogFilter()))
    moment = parse_time(records[0].time)

    assert [r.log for r in read(str(path), LogFilter(tail=2))] == ["2\n", "3\n"]
    assert list(read(str(path), LogFilter(tail=0))) == []
    assert len(list(read(str(path), LogFilter(since_s=moment - 1)))) == 3
    assert list(read(str(path), LogFilter(since_s=moment + 60))) == []
    assert list(read(str(path), LogFilter(until_s=moment - 1))) == []


def test_a_log_that_grows_too_large_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LogWriter(str(path), max_bytes=300, max_files=2)
    for number in range(20):
        writer.write("stdout", f"{number}\n".encode())
    writer.close()

    found = [record.log for record in read(str(path), LogFilter())]

    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["log", "log.1"]
    assert found[-1] == "19\n"
    assert found == [f"{number}\n" for number in range(20 - len(found), 20)]


def test_a_follower_sees_what_is_added_also_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LogWriter(str(path), max_bytes=300, max_files=2)
    follower = Follower(str(path), offset=0)

    seen = []
    for number in range(12):
        writer.write("stdout", f"{number}\n".encode())
        seen += [record.log for record in follower.records()]
    writer.close()
    follower.close()

    assert seen == [f"{number}\n" for number in range(12)]
