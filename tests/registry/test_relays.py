"""Registries behind TLS with client certificates, behind proxies, and all of it together."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.concurrency import CancelToken
from builder.errors import AuthenticationError, NetworkError
from builder.registry.client import Registries
from builder.registry.credentials import Credentials
from builder.store.store import Store
from tests.engine.archives import layer
from tests.registry.images import kept, pull, push
from tests.registry.relays import HOST, Certificates, Proxy, certificates, relay, tls_before
from tests.registry.servers import PASSWORD, USER, Registry, image_of
from tests.registry.test_commands import Program, program, put, well

__all__ = ["program"]

IMAGE = image_of(layer(file=b"behind"))
LOGIN = "proxy user:p@ss:word"
QUOTED = "proxy%20user:p%40ss%3Aword"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def mutual(plain_registry: Registry, made: Certificates) -> Iterator[str]:
    """Give the host of a registry that wants to see a certificate."""
    with tls_before(plain_registry.host, made) as running:
        yield f"127.0.0.1:{running.port}"


@pytest.fixture
def distant(plain_registry: Registry, made: Certificates, environ: dict[str, str]) -> Iterator[str]:
    """Give a registry behind TLS whose name is not a loopback one, and trust it."""
    with tls_before(plain_registry.host, made, is_mutual=False) as running:
        host = f"{HOST}:{running.port}"
        trust(environ, host, made)
        yield host


def trust(environ: dict[str, str], host: str, made: Certificates, client: str = "") -> None:
    text = f'["{host}"]\nca = "{made.authority}"\n'
    if client:
        cert, key = made.pair(client)
        text += f'cert = "{cert}"\nkey = "{key}"\n'
    Path(environ["BUILDER_REGISTRIES"]).write_text(text)


def there_and_back(store: Store, client: Registries, name: str) -> None:
    """Push an image, and pull it into another store."""
    push(store, client, IMAGE, name)
    with Store.open(f"{store.root}-2") as other:
        pull(other, client, name)
        assert kept(other) == {IMAGE.digest, *IMAGE.blobs}


def test_a_client_certificate_opens_the_registry(
    store: Store, environ: dict[str, str], mutual: str, made: Certificates
) -> None:
    trust(environ, mutual, made, "client")

    with Registries(environ, CancelToken()) as client:
        there_and_back(store, client, f"{mutual}/mutual/x:1")


def test_certificates_are_found_in_the_usual_directories(
    store: Store, environ: dict[str, str], mutual: str, made: Certificates
) -> None:
    folder = Path(environ["HOME"]) / ".config/containers/certs.d" / mutual
    folder.mkdir(parents=True)
    shutil.copy(made.authority, folder / "ca.crt")
    cert, key = made.pair("client")
    shutil.copy(cert, folder / "client.cert")
    shutil.copy(key, folder / "client.key")

    with Registries(environ, CancelToken()) as client:
        there_and_back(store, client, f"{mutual}/usual/x:1")


@pytest.mark.parametrize("client_name", ["", "stranger"])
def test_without_the_right_certificate_the_error_says_so(
    store: Store, environ: dict[str, str], mutual: str, made: Certificates, client_name: str
) -> None:
    trust(environ, mutual, made, client_name)

    with Registries(environ, CancelToken()) as client, pytest.raises(NetworkError) as raised:
        pull(store, client, f"{mutual}/mutual/x:1")

    assert "certificate" in raised.value.what.lower() or "unknown ca" in raised.value.what.lower()
    assert raised.value.fix is not None
    assert "client" in raised.value.fix
    assert "tried" not in raised.value.what


def test_a_password_behind_tls_with_certificates(
    store: Store, environ: dict[str, str], private_registry: Registry, made: Certificates
) -> None:
    with tls_before(private_registry.host, made) as running:
        name = f"127.0.0.1:{running.port}/both/x:1"
        trust(environ, f"127.0.0.1:{running.port}", made, "client")

        with Registries(environ, CancelToken(), given=Credentials(USER, PASSWORD)) as client:
            there_and_back(store, client, name)
        with (
            Registries(environ, CancelToken(), given=Credentials(USER, "no")) as client,
            pytest.raises(AuthenticationError),
        ):
            pull(store, client, name)


def test_tls_goes_through_a_proxy(store: Store, environ: dict[str, str], distant: str) -> None:
    proxy = Proxy({distant: distant.replace(HOST, "127.0.0.1")})
    with relay(proxy.serve) as running:
        environ["HTTPS_PROXY"] = f"http://127.0.0.1:{running.port}"
        with Registries(environ, CancelToken()) as client:
            there_and_back(store, client, f"{distant}/proxied/x:1")

    assert set(proxy.asked) == {f"CONNECT {distant}"}


def test_the_proxy_resolves_the_name(
    store: Store, environ: dict[str, str], distant: str, made: Certificates
) -> None:
    trust(environ, "registry.test", made)
    proxy = Proxy({"registry.test:443": distant.replace(HOST, "127.0.0.1")})
    with relay(proxy.serve) as running:
        environ["ALL_PROXY"] = f"127.0.0.1:{running.port}"
        with Registries(environ, CancelToken()) as client:
            there_and_back(store, client, "registry.test/proxied/y:1")

    assert set(proxy.asked) == {"CONNECT registry.test:443"}


@pytest.mark.parametrize("exempt", [HOST, f"10.0.0.0/8, {HOST}", "0.0.0.0/8", "*"])
def test_no_proxy_is_honoured(
    store: Store, environ: dict[str, str], distant: str, exempt: str
) -> None:
    proxy = Proxy({})
    with relay(proxy.serve) as running:
        environ |= {"HTTPS_PROXY": f"http://127.0.0.1:{running.port}", "NO_PROXY": exempt}
        with Registries(environ, CancelToken()) as client:
            there_and_back(store, client, f"{distant}/direct/x:1")

    assert proxy.asked == []


def test_the_proxy_sees_its_own_credentials(
    store: Store, environ: dict[str, str], distant: str
) -> None:
    proxy = Proxy({distant: distant.replace(HOST, "127.0.0.1")}, LOGIN)
    with relay(proxy.serve) as running:
        environ["HTTPS_PROXY"] = f"http://{QUOTED}@127.0.0.1:{running.port}"
        with Registries(environ, CancelToken()) as client:
            there_and_back(store, client, f"{distant}/login/x:1")


def test_plain_http_goes_through_a_proxy(
    store: Store, environ: dict[str, str], plain_registry: Registry
) -> None:
    put(plain_registry.host, IMAGE, "plain/proxied")
    proxy = Proxy({"registry.test": plain_registry.host}, LOGIN)
    Path(environ["BUILDER_REGISTRIES"]).write_text('["registry.test"]\ninsecure = true\n')
    with relay(proxy.serve) as running:
        address = f"http://{QUOTED}@127.0.0.1:{running.port}"
        environ |= {"HTTP_PROXY": address, "HTTPS_PROXY": address}
        with Registries(environ, CancelToken()) as client:
            pull(store, client, "registry.test/plain/proxied:1")

    assert kept(store) == {IMAGE.digest, *IMAGE.blobs}
    assert "GET http://registry.test/v2/" in proxy.asked


@pytest.mark.namespaces
@pytest.mark.parametrize("refusal", ["407 Proxy Authentication Required", "403 Forbidden"])
def test_a_proxy_that_refuses_is_named(program: Program, refusal: str) -> None:
    proxy = Proxy({}, refusal=refusal)
    with relay(proxy.serve) as running:
        address = f"http://me:hidden@127.0.0.1:{running.port}"
        ended = program("pull", "registry.test/x:1", HTTPS_PROXY=address)

    said = ended.stderr.decode()
    assert ended.returncode == 10, said
    assert refusal in said
    assert f"the proxy http://127.0.0.1:{running.port}" in said
    assert "hidden" not in said


@pytest.mark.namespaces
def test_a_proxy_that_is_not_there_is_named(program: Program) -> None:
    with relay(Proxy({}).serve) as gone:
        address = f"http://me:hidden@127.0.0.1:{gone.port}"
    ended = program("pull", "registry.test/x:1", HTTPS_PROXY=address)

    said = ended.stderr.decode()
    assert ended.returncode == 10, said
    assert f"the proxy http://127.0.0.1:{gone.port}" in said
    assert "hidden" not in said


@pytest.mark.namespaces
def test_a_proxy_of_a_kind_that_is_not_spoken_is_told(program: Program) -> None:
    ended = program("pull", "registry.test/x:1", HTTPS_PROXY="socks5://127.0.0.1:1")

    assert ended.returncode == 10
    assert b"socks5" in ended.stderr
    assert b"Traceback" not in ended.stderr


@pytest.mark.namespaces
def test_the_program_behind_everything(
    program: Program, private_registry: Registry, made: Certificates, tmp_path: Path
) -> None:
    with tls_before(private_registry.host, made) as running:
        host = f"{HOST}:{running.port}"
        environ = {"BUILDER_REGISTRIES": str(tmp_path / "registries.toml")}
        trust(environ, host, made, "client")
        proxy = Proxy({host: f"127.0.0.1:{running.port}"}, LOGIN)
        with relay(proxy.serve) as between:
            environ["HTTPS_PROXY"] = f"http://{QUOTED}@127.0.0.1:{between.port}"
            words = ("login", "-u", USER, "--password-stdin", host)
            well(program(*words, stdin=PASSWORD.encode(), **environ))
            write_folder(tmp_path / "in")
            well(program("copy", "-q", "dir:in", f"docker://{host}/all/x:1", **environ))

            pulled = well(program("pull", f"{host}/all/x:1", **environ))

    assert IMAGE.digest in pulled
    assert set(proxy.asked) == {f"CONNECT {host}"}


@pytest.mark.namespaces
def test_each_end_of_a_copy_is_trusted_on_its_own(
    program: Program, plain_registry: Registry, made: Certificates
) -> None:
    put(plain_registry.host, IMAGE, "ends/x")
    with tls_before(plain_registry.host, made, is_mutual=False) as running:
        distant = f"docker://{HOST}:{running.port}"
        words = ("copy", "-q", f"{distant}/ends/x:1", f"{distant}/ends/y:1")

        ended = [
            program(words[0], *options, *words[1:]).returncode
            for options in (
                ("--src-tls-verify=false",),
                ("--dest-tls-verify=false",),
                ("--src-tls-verify=false", "--dest-tls-verify=false"),
                ("--tls-verify=false",),
            )
        ]

    assert ended == [10, 10, 0, 0]


def write_folder(directory: Path) -> None:
    """Write the image as a `dir`."""
    directory.mkdir()
    (directory / "manifest.json").write_bytes(IMAGE.manifest)
    for digest, blob in IMAGE.blobs.items():
        (directory / digest.removeprefix("sha256:")).write_bytes(blob)
