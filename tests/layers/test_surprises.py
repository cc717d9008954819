import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.graph.ops import Copy
from builder.ignore import IgnoreMatcher
from builder.layers.context import ContextTree
from builder.layers.surprises import surprises


class Places:
    def __init__(self, source: Path, dest: Path) -> None:
        for name in ("a.txt", "b.txt", "d/c"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).touch()
        (dest / "there").mkdir(parents=True)
        self.source_fd = os.open(source, os.O_RDONLY)
        self.dest_fd = os.open(dest, os.O_RDONLY)

    def of(self, action: Copy) -> tuple[str, ...]:
        tree = ContextTree(self.source_fd, compile_patterns=IgnoreMatcher)
        return surprises(action, tree, self.dest_fd)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    made = Places(tmp_path / "source", tmp_path / "dest")
    yield made
    os.close(made.source_fd)
    os.close(made.dest_fd)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Copy(0, "/*.none", "/x", is_required=False), "no file matches /*.none"),
        (Copy(0, "/*.txt", "/x", is_required=False), "onto the one file /x"),
        (Copy(0, "/a.txt", "/x", dest_is_directory=True), "onto the one file /x"),
        (Copy(0, "/a.txt", "/new/x", chmod="0644"), "nobody but root can enter"),
        (Copy(0, "/a.txt", "/new/", chmod="600"), "nobody but root can enter"),
    ],
)
def test_what_nobody_expects_is_told(places: Places, action: Copy, words: str) -> None:
    [text] = places.of(action)

    assert words in text


@pytest.mark.parametrize(
    "action",
    [
        Copy(0, "/*.txt", "/x/", is_required=False),
        Copy(0, "/*.txt", "/there", is_required=False),
        Copy(0, "/a.txt", "/there", dest_is_directory=True),
        Copy(0, "/d", "/x", dest_is_directory=True),
        Copy(0, "/a.txt", "/x"),
        Copy(0, "/a.txt", "/new/x", chmod="0755"),
        Copy(0, "/a.txt", "/new/x", chmod="u=rw"),
        Copy(0, "/a.txt", "/there/x", chmod="0600"),
    ],
)
def test_what_is_usual_is_not(places: Places, action: Copy) -> None:
    assert places.of(action) == ()
