"""Locks and builds without a network, against a real registry and a server of files."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.archives import layer
from tests.registry.servers import Answer, Registry, Seen, Server, image_of, serving
from tests.registry.test_commands import Program, program, put, well

__all__ = ["program"]
pytestmark = pytest.mark.namespaces


class Files:
    """A server of files that change, and that counts what is asked."""

    def __init__(self) -> None:
        self.content = b"one"
        self.asked = 0

    def script(self, _seen: Seen) -> Answer:
        self.asked += 1
        return Answer(200, {}, self.content)


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def server(files: Files) -> Iterator[Server]:
    with serving(files.script) as running:
        yield running


class Place:
    """A context whose Dockerfile stands on a tag that moves and a file that changes."""

    def __init__(self, directory: Path, registry: Registry, url: str) -> None:
        self.registry = registry
        self.repository = f"lock/{directory.name.replace('_', '-')}"
        self.base = f"{registry.host}/{self.repository}:1"
        self.url = url
        self.where = str(directory / "context")
        self.lock = directory / "context" / "Dockerfile.lock"
        os.mkdir(self.where)
        self.write(f"FROM {self.base}\nADD {url} /got\n")
        self.publish(b"first")

    def write(self, text: str) -> None:
        (self.lock.parent / "Dockerfile").write_text(text)

    def publish(self, content: bytes) -> None:
        put(self.registry.host, image_of(layer(file=content)), self.repository)

    def pins(self, kind: str) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.lock.read_text())[kind]
        return found


@pytest.fixture
def place(tmp_path: Path, plain_registry: Registry, server: Server) -> Place:
    return Place(tmp_path, plain_registry, f"http://{server.host}/f")


def tree(program: Program, out: Path, *words: str, **environ: str) -> dict[str, bytes]:
    """Build, and give the files at the root by name."""
    well(program("build", "-q", "-o", str(out), *words, **environ))
    return {path.name: path.read_bytes() for path in out.iterdir()}


def build(program: Program, *words: str) -> str:
    return well(program("build", "-q", *words))


def failed(ended: "subprocess.CompletedProcess[bytes]") -> str:
    assert ended.returncode, ended.stdout
    return ended.stderr.decode()


def test_a_lock_holds_what_tags_and_urls_stand_for_until_it_is_updated(
    program: Program, place: Place, files: Files, tmp_path: Path
) -> None:
    said = well(program("lock", place.where))
    before = place.lock.read_bytes()
    first = {"file": b"first", "got": b"one"}
    out = tmp_path / "out"
    assert tree(program, out, "--locked", place.where) == first
    place.publish(b"second")
    there, third = ({"BUILDER_ROOT": str(tmp_path / name)} for name in ("second", "third"))

    assert f"{place.base}: not locked → sha256:" in said
    assert tree(program, out, "--pull", place.where, **there) == first
    assert well(program("lock", place.where, **there)) == ""
    assert place.lock.read_bytes() == before
    old = place.pins("images")[place.base]
    moved = well(program("lock", f"--update={place.base}", place.where))
    assert moved == f"{place.base}: {old} → {place.pins('images')[place.base]}"
    assert old != place.pins("images")[place.base]
    files.content = b"two"
    assert tree(program, out, "--locked", place.where) == {"file": b"second", "got": b"one"}
    assert "pins sha256:" in failed(program("build", place.where, **third))
    assert place.url in well(program("lock", "--update", place.url, place.where))
    assert tree(program, out, "--locked", place.where, **third)["got"] == b"two"


def test_a_build_with_a_lock_asks_nobody_for_what_is_here(
    program: Program, place: Place, files: Files
) -> None:
    well(program("lock", place.where))
    asked = files.asked

    build(program, "--locked", place.where)

    assert files.asked == asked


def test_locked_refuses_what_the_lock_lacks(program: Program, place: Place) -> None:
    assert "there is none" in failed(program("build", "--locked", place.where))
    well(program("lock", place.where))
    other = place.base.replace(":1", ":2")
    place.write(f"FROM {other}\n")

    assert f"{other} is not in" in failed(program("build", "--locked", place.where))
    assert f"{other} is not in" in failed(program("lock", "--locked", place.where))


def test_all_stages_are_locked_and_a_pin_that_nothing_needs_goes(
    program: Program, place: Place
) -> None:
    put(place.registry.host, image_of(layer(file=b"x")), f"{place.repository}/b")
    other = place.base.replace(":1", "/b:1")
    place.write(f"FROM {place.base} AS a\nFROM {other}\n")
    well(program("lock", place.where))
    assert set(place.pins("images")) == {place.base, other}
    place.write(f"FROM {place.base} AS a\nFROM scratch\nCOPY --from=a /file /\n")

    checked = program("lock", "--locked", place.where)
    said = well(program("lock", place.where))

    assert checked.returncode == 1
    assert checked.stdout.decode().strip() == said
    assert said.startswith(f"{other}: sha256:")
    assert said.endswith("→ not needed")
    assert set(place.pins("images")) == {place.base}


def test_the_lock_is_an_input_of_the_shortest_way(program: Program, place: Place) -> None:
    place.write(f"FROM {place.base}\nLABEL a=b\n")
    words = ("build", "-q", "-t", "x", place.where)
    well(program("lock", place.where))
    first = well(program(*words))
    assert well(program(*words)) == first
    place.publish(b"another")

    well(program("lock", "--update", place.where))

    assert well(program(*words)) != first


def test_a_damaged_lock_fails_the_build(program: Program, place: Place) -> None:
    place.lock.write_text("{}")

    assert "cannot be used" in failed(program("build", place.where))
    assert "cannot be used" in failed(program("lock", place.where))


def test_an_unknown_name_to_update_is_an_error_with_the_nearest(
    program: Program, place: Place
) -> None:
    well(program("lock", place.where))

    said = failed(program("lock", f"--update={place.base}0", place.where))

    assert f"did you mean {place.base}?" in said


def test_git_refs_are_locked(program: Program, place: Place, tmp_path: Path) -> None:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    source = tmp_path / "source"
    commit = committed(source, "1")
    with serving(served(tmp_path / "bare.git", source)) as git:
        remote = f"http://{git.host}/r.git"
        place.write(f"FROM scratch\nADD {remote}#main /src\n")
        well(program("lock", place.where))
        assert place.pins("gits") == {f"{remote}#main": commit}
        committed(source, "2")
        refreshed(tmp_path / "bare.git", source)

        build(program, "--locked", "-o", str(tmp_path / "out"), place.where)

        assert (tmp_path / "out/src/file").read_text() == "1"
        assert commit in well(program("lock", "--update", place.where))
        assert place.pins("gits")[f"{remote}#main"] != commit


def git(directory: Path, *words: str) -> str:
    environ = {
        **os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }  # fmt: skip
    done = subprocess.run(
        ["git", *words], cwd=directory, env=environ, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def committed(source: Path, content: str) -> str:
    """Commit a file, and give the commit."""
    if not source.exists():
        source.mkdir()
        git(source, "init", "--quiet", "--initial-branch=main")
    (source / "file").write_text(content)
    git(source, "add", "file")
    git(source, "commit", "--quiet", "-m", content)
    return git(source, "rev-parse", "HEAD")


def refreshed(bare: Path, source: Path) -> None:
    """Copy a repository to where it is served from, for clients that speak plain HTTP."""
    shutil.rmtree(bare, ignore_errors=True)
    git(source, "clone", "--quiet", "--bare", str(source), str(bare))
    git(bare, "update-server-info")


def served(bare: Path, source: Path) -> Callable[[Seen], Answer | None]:
    refreshed(bare, source)

    def script(seen: Seen) -> Answer | None:
        path = bare / seen.path.partition("?")[0].removeprefix("/r.git/")
        return Answer(200, {}, path.read_bytes()) if path.is_file() else None

    return script


def test_offline_builds_from_what_is_here(program: Program, place: Place, files: Files) -> None:
    online = build(program, place.where)
    asked = files.asked

    assert build(program, "--offline", place.where) == online
    assert build(program, "--offline", "--no-cache", place.where)
    assert files.asked == asked


def test_offline_names_what_is_missing(program: Program, place: Place, files: Files) -> None:
    said = failed(program("build", "--offline", place.where))
    assert f"{place.base} is not here at all, and the build is offline" in said
    assert "builder pull" in said
    well(program("pull", "-q", place.base))

    said = failed(program("build", "--offline", place.where))

    assert f"{place.url} is not here, and the build is offline" in said
    assert files.asked == 0


def test_offline_names_layers_that_were_never_fetched(program: Program, place: Place) -> None:
    place.write(f"FROM {place.base}\nLABEL a=b\n")
    well(program("build", "-q", "-o", "type=cacheonly", place.where))

    said = failed(program("build", "--offline", place.where))

    assert "1 layers of" in said
    assert image_of(layer(file=b"first")).layer in said


def test_offline_excludes_pull_and_push(program: Program, place: Place) -> None:
    assert "--offline forbids" in failed(program("build", "--offline", "--pull", place.where))
    assert "--offline forbids" in failed(program("build", "--offline", "--push", place.where))
    pushing = f"type=image,name={place.base},push=true"
    assert "--offline forbids" in failed(program("build", "--offline", "-o", pushing, place.where))


def test_a_run_that_may_not_pull_names_the_image(program: Program, place: Place) -> None:
    said = failed(program("run", "--pull=never", place.base))

    assert f"No such image: {place.base}" in said


def test_a_base_that_is_only_here_is_locked_as_it_is_here(program: Program, place: Place) -> None:
    mine = f"{place.registry.host}/{place.repository}/mine:1"
    well(program("pull", "-q", place.base))
    well(program("tag", place.base, mine))
    place.write(f"FROM {mine}\nLABEL a=b\n")
    well(program("lock", place.where))

    updated = program("lock", "--update", place.where)

    assert well(updated) == ""
    assert f"{mine} is taken from the store" in updated.stderr.decode()
    well(program("build", "-q", "--locked", "--offline", place.where))


def test_a_lock_beside_an_own_dockerfile_is_used_by_its_name(
    program: Program, place: Place
) -> None:
    file = place.lock.parent / "other.Dockerfile"
    file.write_text(f"FROM {place.base}\n")

    well(program("lock", "-f", str(file), place.where))

    assert (place.lock.parent / "other.Dockerfile.lock").exists()
    assert not place.lock.exists()
    well(program("build", "-q", "--locked", "-f", str(file), place.where))


def test_names_in_a_lock_move_no_cursor(program: Program, place: Place) -> None:
    place.lock.write_text(
        json.dumps({"lock": 1, "images": {"\x1b[2J": f"sha256:{'a' * 64}"}, "urls": {}, "gits": {}})
    )

    assert "\x1b" not in well(program("lock", place.where))
