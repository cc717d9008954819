"""Images named by their places, wherever one is named; and what `run` says of a missing one."""

import json
from pathlib import Path

import pytest

from tests.engine.archives import layer
from tests.registry.servers import Registry, image_of
from tests.registry.test_commands import Program, program, put, well

__all__ = ["program"]
pytestmark = pytest.mark.namespaces
PLACES = ("oci:{0}/layout:1", "oci-archive:{0}/a.tar:1", "dir:{0}/dir",
          "docker-archive:{0}/d.tar:localhost/x:1")  # fmt: skip


@pytest.fixture
def base(plain_registry: Registry) -> str:
    put(plain_registry.host, image_of(layer(file=b"base")), "base/placed")
    return f"{plain_registry.host}/base/placed:1"


@pytest.mark.parametrize("form", PLACES)
def test_push_writes_and_pull_reads_every_form(
    program: Program, base: str, tmp_path: Path, form: str
) -> None:
    place = form.format(tmp_path)
    other = {"BUILDER_ROOT": str(tmp_path / "second")}
    first = well(program("pull", f"docker://{base}")).splitlines()[0]

    pushed = well(program("push", base, place))
    pulled = well(program("pull", place, **other)).splitlines()

    if not form.startswith("docker-archive"):  # that form has its own manifest
        assert pushed == first.replace("Digest", "digest")
        assert pulled[0] == first
    assert pulled[-1].startswith("localhost/")
    assert well(program("image", "inspect", "--format", "{{.Id}}", pulled[-1], **other)) == well(
        program("image", "inspect", "--format", "{{.Id}}", base)
    )


@pytest.mark.parametrize("form", ["docker://{base}", *PLACES])
def test_a_build_context_may_be_an_image_of_every_form(
    program: Program, base: str, tmp_path: Path, form: str
) -> None:
    place = form.format(tmp_path, base=base)
    well(program("pull", "-q", base))
    if not place.startswith("docker://"):
        well(program("push", "-q", base, place))
    (tmp_path / "Dockerfile").write_text("FROM named AS a\nFROM scratch\nCOPY --from=a /file /\n")
    out = tmp_path / "out"

    well(program("build", "--build-context", f"named={place}", "-o", str(out), str(tmp_path)))

    assert (out / "file").read_bytes() == b"base"


def test_push_to_another_name(program: Program, base: str, plain_registry: Registry) -> None:
    well(program("pull", "-q", base))
    to = f"docker://{plain_registry.host}/pushed/elsewhere:7"

    said = well(program("push", base, to))

    assert said.startswith("7: digest: sha256:")
    assert well(program("pull", "-q", to)).endswith("pushed/elsewhere:7")


@pytest.mark.parametrize("form", ["docker://{base}", *PLACES])
def test_a_container_is_made_of_every_form(
    program: Program, base: str, tmp_path: Path, form: str
) -> None:
    place = form.format(tmp_path, base=base)
    well(program("pull", "-q", base))
    if not place.startswith("docker://"):
        well(program("push", "-q", base, place))

    made = well(program("create", place, "x", BUILDER_ROOT=str(tmp_path / "second")))

    [found] = json.loads(well(program("inspect", made, BUILDER_ROOT=str(tmp_path / "second"))))
    assert found["Config"]["Cmd"] == ["x"]


def test_a_missing_image_is_told_and_its_pull_shown_on_standard_error(
    program: Program, base: str
) -> None:
    first = program("run", "--rm", base, "/absent")
    second = program("run", "--rm", base, "/absent")

    said = first.stderr.decode()
    assert said.startswith(f"Unable to find image '{base}' locally\n#1 pulling {base}\n")
    assert "DONE" in said
    assert b"pulling" not in second.stderr
    assert first.stdout == b""


def test_a_quiet_run_shows_no_pull(program: Program, base: str) -> None:
    said = program("run", "--rm", "-q", base, "/absent").stderr.decode()

    assert "pulling" not in said
    assert "Unable to find" not in said


def test_a_pull_that_was_asked_for_misses_nothing(program: Program, base: str) -> None:
    said = program("run", "--rm", "--pull=always", base, "/absent").stderr.decode()

    assert said.startswith(f"#1 pulling {base}\n")
