import os
import time
from pathlib import Path

import pytest

from builder.dockerfile.nodes import read_nodes
from builder.engine.forerunner import PARSED, Forerunner
from builder.engine.scout import Findings, memo_path, read_memo
from builder.graph.vertex import Selector
from builder.ignore import IgnoreMatcher
from builder.kernel.namespaces import enter
from builder.layers.context import ContextTree
from builder.layers.memo import Memo
from builder.sandbox.zygote import Zygote
from builder.source import Source
from tests.children import children
from tests.sandbox.conftest import in_process

TEXT = "FROM busybox\nRUN echo hi\n"

pytestmark = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) == 1, reason="needs a processor to spare"
)


@pytest.fixture
def context(tmp_path: Path) -> str:
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text(TEXT)
    (tmp_path / "state").mkdir()
    return str(tmp_path / "context")


def run(state: Path, context: str, dockerfile: str | None = None) -> list[str]:
    """Let a forerunner do its work; the names of the files that it left."""
    forerunner = Forerunner.start(context, dockerfile, str(state))
    forerunner.wait()
    forerunner.close()
    folder = state / PARSED
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_the_build_finds_the_nodes_that_it_left(context: str, tmp_path: Path) -> None:
    left = run(tmp_path / "state", context)
    folder = tmp_path / "state" / PARSED
    before = {name: (folder / name).stat().st_mtime_ns for name in left}

    _lines, nodes = read_nodes(Source("Dockerfile", TEXT), cache_dir=str(folder))

    assert [node.rule for node in nodes] == ["from", "run"]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert len(left) == 2  # the nodes, and the grammar's tables


def test_a_dockerfile_elsewhere_is_read_where_it_is(context: str, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("FROM scratch\n")

    left = run(tmp_path / "state", context, str(tmp_path / "other"))

    read_nodes(Source("other", "FROM scratch\n"), cache_dir=str(tmp_path / "state" / PARSED))
    assert sorted(os.listdir(tmp_path / "state" / PARSED)) == left


def test_a_pipe_is_left_to_the_build(context: str, tmp_path: Path) -> None:
    read_fd, write_fd = os.pipe()
    os.write(write_fd, TEXT.encode())
    os.close(write_fd)

    left = run(tmp_path / "state", context, f"/dev/fd/{read_fd}")

    assert left == []
    assert os.read(read_fd, 100) == TEXT.encode()
    os.close(read_fd)


@pytest.mark.parametrize("other", ["https://example.com/repository.git", "-", "missing"])
def test_what_is_no_directory_of_the_client_has_no_forerunner(
    context: str, tmp_path: Path, other: str
) -> None:
    assert run(tmp_path / "state", other, f"{context}/Dockerfile") == []


@pytest.mark.parametrize("dockerfile", ["-", "missing"])
def test_what_is_no_file_has_no_forerunner(context: str, tmp_path: Path, dockerfile: str) -> None:
    assert run(tmp_path / "state", context, dockerfile) == []


def test_a_dockerfile_that_is_wrong_leaves_nothing_and_says_nothing(
    context: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "context/Dockerfile").write_text(f"LABEL {'a=b ' * 50_001}\n")

    left = run(tmp_path / "state", context)

    assert left == []
    assert capfd.readouterr() == ("", "")


def test_no_state_directory_is_made(context: str, tmp_path: Path) -> None:
    assert run(tmp_path / "absent", context) == []
    assert not (tmp_path / "absent").exists()


def test_a_large_context_is_listed_when_the_text_is_parsed(context: str, tmp_path: Path) -> None:
    for number in range(1200):
        (tmp_path / f"context/f{number}").touch()
    time.sleep(0.03)
    path = Path(memo_path(str(tmp_path / "state"), context))
    path.parent.mkdir()
    path.write_bytes(digested(context).packed())
    memo, version = read_memo(str(path))
    before = children()
    forerunner = Forerunner.start(context, None, str(tmp_path / "state"))
    findings = Findings(forerunner.scout_fd, memo, version)

    deadline = time.monotonic() + 20
    while findings.folder("") is None and time.monotonic() < deadline:
        time.sleep(0.01)

    assert findings.folder("") is not None
    assert forerunner.since_ns <= time.time_ns()
    forerunner.close()
    assert children() == before


@pytest.mark.namespaces
def test_in_the_end_it_becomes_the_zygote(context: str, tmp_path: Path) -> None:
    def body() -> bool:
        forerunner = Forerunner.start(context, None, str(tmp_path / "state"))
        enter()
        given = forerunner.released()
        assert given is not None
        with Zygote.recruited(*given) as zygote:
            forerunner.wait()
            zygote.confirm()
            forerunner.close()
            return zygote._pid == given[1] and forerunner.released() is None

    assert in_process(body) is True


def digested(context: str) -> Memo:
    fd = os.open(context, os.O_RDONLY)
    tree = ContextTree(fd, compile_patterns=IgnoreMatcher)
    tree.digest(Selector("/"))
    os.close(fd)
    return tree.remember()


def test_closing_ends_it_at_once_and_may_be_repeated(context: str, tmp_path: Path) -> None:
    before = children()
    forerunner = Forerunner.start(context, None, str(tmp_path / "state"))

    forerunner.close()
    forerunner.close()

    assert children() == before
