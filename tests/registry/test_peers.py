"""Images go to podman, Docker and skopeo by way of a registry, and come back, digests unchanged."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.registry.servers import Registry
from tests.registry.test_commands import Program, program, well

__all__ = ["program"]
pytestmark = [pytest.mark.namespaces, pytest.mark.root]
PEER_S = 120
Peer = Callable[..., str]


@pytest.fixture
def built(
    program: Program, busybox_archive: Path, plain_registry: Registry, tmp_path: Path
) -> tuple[str, str]:
    """Build on busybox and push; give the name, and the digest that was pushed."""
    well(program("load", "--quiet", "--input", str(busybox_archive), "--tag", "busybox"))
    (tmp_path / "context").mkdir()
    (tmp_path / "context/file").write_text("ours")
    (tmp_path / "context/Dockerfile").write_text(
        "FROM busybox\nCOPY file /\nRUN echo x > /gone && ln -s file /link\nRUN rm /gone\n"
        'CMD ["cat", "/link"]\n'
    )
    name = f"{plain_registry.host}/peers/{tmp_path.name.lower().replace('_', '-')}:1"
    well(program("build", "-q", "--network=none", "-t", name, str(tmp_path / "context")))
    pushed = well(program("push", name))
    return name, pushed.split("digest: ")[1].split()[0]


@pytest.fixture
def podman() -> Iterator[Peer]:
    """Give podman with a state of its own, at a path as short as it wants them, thrown away."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    place = tempfile.mkdtemp(prefix="peer-")
    root = ["--root", f"{place}/root", "--runroot", f"{place}/run"]
    prefix = ["podman", *root, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]
    probe = subprocess.run([*prefix, "info"], check=False, capture_output=True, timeout=PEER_S)
    if probe.returncode:
        shutil.rmtree(place)
        pytest.skip(f"podman does not work here: {probe.stderr.decode()[-200:]}")
    yield lambda *words: said(*prefix, *words)
    subprocess.run(
        [*prefix, "system", "reset", "--force"], check=False, capture_output=True, timeout=PEER_S
    )
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def docker() -> Peer:
    if not shutil.which("docker"):
        pytest.skip("docker is not installed")
    probe = subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=PEER_S)
    if probe.returncode:
        pytest.skip("no docker daemon answers")
    return lambda *words: said("docker", *words)


def said(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, timeout=PEER_S)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_podman_pulls_what_we_push_and_we_pull_what_it_pushes(
    program: Program, built: tuple[str, str], podman: Peer, tmp_path: Path
) -> None:
    name, digest = built
    back = name.replace("/peers/", "/back/")
    insecure = "--tls-verify=false"

    podman("pull", "-q", insecure, name)
    [theirs] = json.loads(podman("image", "inspect", name))
    podman("tag", name, back)
    podman("push", "-q", insecure, back)
    second = {"BUILDER_ROOT": str(tmp_path / "second")}
    well(program("pull", "-q", back, **second))
    [ours] = json.loads(well(program("image", "inspect", back, **second)))

    assert theirs["Digest"] == digest
    assert ours["Id"] == f"sha256:{theirs['Id']}"
    assert well(program("run", "--rm", "--network=none", back, **second)) == "ours"


def test_podman_commits_and_builds_on_ours(
    program: Program, built: tuple[str, str], podman: Peer, tmp_path: Path
) -> None:
    name, _digest = built
    archive = tmp_path / "podman.tar"
    podman("pull", "-q", "--tls-verify=false", name)

    made = podman("create", "--network=none", name, "true")
    podman("commit", "-q", "--change", "LABEL from=podman", made, "localhost/theirs:1")
    podman("save", "-q", "--format", "oci-archive", "-o", str(archive), "localhost/theirs:1")

    loaded = well(program("pull", f"oci-archive:{archive}")).splitlines()[-1]
    [found] = json.loads(well(program("image", "inspect", loaded)))
    assert found["Config"]["Labels"]["from"] == "podman"
    assert well(program("run", "--rm", "--network=none", loaded, "cat", "/file")) == "ours"


def test_docker_pulls_what_we_push_and_we_pull_what_it_pushes(
    program: Program, built: tuple[str, str], docker: Peer, tmp_path: Path
) -> None:
    name, digest = built
    back = name.replace("/peers/", "/docker-back/")
    try:
        docker("pull", "-q", name)
        docker("tag", name, back)
        pushed = docker("push", back)
        shown = docker("run", "--rm", "--network=none", name)
    finally:
        docker("rmi", "-f", name, back)
    second = {"BUILDER_ROOT": str(tmp_path / "second")}
    well(program("pull", "-q", back, **second))

    assert shown == "ours"
    assert "digest: sha256:" in pushed
    assert well(program("run", "--rm", "--network=none", back, **second)) == "ours"
    assert digest.startswith("sha256:")


def test_skopeo_sees_the_manifest_that_we_pushed(
    program: Program, built: tuple[str, str], tmp_path: Path
) -> None:
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    name, digest = built
    copied = ["--insecure-policy", "copy", "-q", "--src-tls-verify=false", f"docker://{name}"]

    said("skopeo", *copied, f"oci:{tmp_path}/layout:1")

    shown = json.loads(said("skopeo", "inspect", "--tls-verify=false", f"docker://{name}"))
    assert shown["Digest"] == digest
    second = {"BUILDER_ROOT": str(tmp_path / "second")}
    pulled = well(program("pull", f"oci:{tmp_path}/layout:1", **second))
    assert pulled.splitlines()[0] == f"Digest: {digest}"
