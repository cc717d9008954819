"""A scout lists what the last build looked at; the build believes it only of its own memo."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.engine.scout import Findings, memo_path, read_memo, scout
from builder.graph.vertex import Selector
from builder.ignore import IgnoreMatcher
from builder.layers.context import ContextTree
from builder.layers.memo import Memo

FILES = 30


class Place:
    """A context with some directories, and a state directory."""

    def __init__(self, base: Path) -> None:
        self.context, self.root = base / "context", base / "root"
        for number in range(40):
            directory = self.context / f"d{number:02d}"
            directory.mkdir(parents=True)
            for name in range(FILES):
                (directory / f"f{name}").write_text(f"{number} {name}")
        time.sleep(0.03)

    def digest(self, findings: Findings | None = None, memo: Memo | None = None) -> str:
        fd = os.open(self.context, os.O_RDONLY)
        early = (lambda _path: None) if findings is None else findings.folder
        tree = ContextTree(fd, compile_patterns=IgnoreMatcher, memo=memo, early=early)
        try:
            digest = tree.digest(Selector("/"))
            path = Path(memo_path(str(self.root), str(self.context)))
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(".new")
            beside.write_bytes(tree.remember().packed())
            beside.rename(path)
            return digest
        finally:
            os.close(fd)

    def memo(self) -> tuple[Memo, int]:
        return read_memo(memo_path(str(self.root), str(self.context)))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def fd() -> Iterator[int]:
    fd = os.memfd_create("scout")
    yield fd
    os.close(fd)


def test_what_the_scout_found_is_what_the_build_would(place: Place, fd: int) -> None:
    place.digest()
    (place.context / "d07/f3").write_text("changed")
    (place.context / "d08/f4").unlink()
    (place.context / "d09/new").mkdir()
    time.sleep(0.03)
    scout(str(place.context), str(place.root), fd)
    memo, version = place.memo()
    findings = Findings(fd, memo, version)

    found = [findings.folder(f"d{number:02d}") for number in (0, 7, 8, 9)]
    assert None not in found
    with_scout, without = place.digest(findings, memo), place.digest()
    assert with_scout == without


def test_what_came_after_the_scout_is_of_the_next_build(place: Place, fd: int) -> None:
    expected = place.digest()
    scout(str(place.context), str(place.root), fd)
    (place.context / "d07/later").touch()
    memo, version = place.memo()

    assert place.digest(Findings(fd, memo, version), memo) == expected
    assert place.digest() != expected


def test_findings_of_another_memo_are_not_believed(place: Place, fd: int) -> None:
    place.digest()
    scout(str(place.context), str(place.root), fd)
    (place.context / "d07/f3").write_text("changed")
    time.sleep(0.03)
    place.digest()
    memo, version = place.memo()

    findings = Findings(fd, memo, version)

    assert findings.folder("d07") is None
    assert findings.folder("d08") is None


def test_findings_are_taken_as_they_come(place: Place, fd: int) -> None:
    place.digest()
    scout(str(place.context), str(place.root), fd)
    content = os.pread(fd, 1 << 20, 0)
    half = os.memfd_create("half")
    memo, version = place.memo()
    findings = Findings(half, memo, version)

    os.write(half, content[: len(content) // 2])
    assert findings.folder("") is None
    assert findings.folder("d39") is not None
    os.write(half, content[len(content) // 2 :])
    assert findings.folder("") is not None
    os.close(half)


def test_a_small_context_needs_no_scout(tmp_path: Path, fd: int) -> None:
    (tmp_path / "context").mkdir()
    scout(str(tmp_path / "context"), str(tmp_path), fd)

    assert os.fstat(fd).st_size == 0
    assert Findings(fd, Memo(), 0).folder("") is None
