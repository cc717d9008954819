"""Stores, clients, and real registries: plain, with passwords, and behind TLS."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.concurrency import CancelToken
from builder.registry.client import Registries
from builder.store.store import Store
from tests.registry import servers
from tests.registry.servers import HTPASSWD, Registry

Client = Callable[..., Registries]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "store")) as opened:
        yield opened


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Give an environment whose configuration files are this test's own."""
    (tmp_path / "home").mkdir()
    return {
        "HOME": str(tmp_path / "home"),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "BUILDER_REGISTRIES": str(tmp_path / "registries.toml"),
        "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"),
    }


@pytest.fixture
def client(environ: dict[str, str]) -> Iterator[Registries]:
    with Registries(environ, CancelToken()) as opened:
        yield opened


@pytest.fixture(scope="session")
def plain_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    need_registry()
    with servers.registry(tmp_path_factory.mktemp("plain")) as running:
        yield running


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    need_registry()
    directory = tmp_path_factory.mktemp("private")
    (directory / "htpasswd").write_text(HTPASSWD)
    auth = f"auth: {{htpasswd: {{realm: test, path: {directory}/htpasswd}}}}\n"
    with servers.registry(directory, more=auth) as running:
        yield running


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Run a registry whose certificate nobody knows; it is in the directory as `cert.pem`."""
    need_registry()
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    directory = tmp_path_factory.mktemp("tls")
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    made += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(made, cwd=directory, check=True, capture_output=True)
    tls = f", tls: {{certificate: {directory}/cert.pem, key: {directory}/key.pem}}"
    with servers.registry(directory, http_more=tls) as running:
        yield running


def need_registry() -> None:
    if servers.binary() is None:
        pytest.skip("docker-registry is not installed")
