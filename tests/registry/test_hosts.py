from pathlib import Path

import pytest

from builder.concurrency import CancelToken
from builder.errors import NetworkError, RegistryError
from builder.oci.reference import parse_reference
from builder.registry.client import Registries
from builder.registry.hostfiles import host_rules
from builder.registry.hosts import HUB_CREDENTIALS, Endpoint, HostRules, is_loopback
from builder.registry.transport import proxy_of
from builder.store.store import Store
from tests.engine.archives import layer
from tests.registry.images import pull, push
from tests.registry.servers import Registry, image_of, serving

IMAGE = image_of(layer(file=b"tls"))


def endpoints(environ: dict[str, str], own: str, name: str, conf: str = "") -> tuple[Endpoint, ...]:
    Path(environ["BUILDER_REGISTRIES"]).write_text(own)
    Path(environ["CONTAINERS_REGISTRIES_CONF"]).write_text(conf)
    return host_rules(environ).endpoints(parse_reference(name))


def test_the_hub_is_elsewhere_than_its_name() -> None:
    [hub] = HostRules([]).endpoints(parse_reference("busybox"))

    assert (hub.host, hub.repository) == ("registry-1.docker.io", "library/busybox")
    assert (hub.schemes, hub.credentials) == (("https",), HUB_CREDENTIALS)


@pytest.mark.parametrize(
    ("host", "schemes"),
    [
        ("127.0.0.1:5000", ("http", "https")),
        ("localhost:5000", ("http", "https")),
        ("r.example:5000", ("https",)),
        ("10.0.0.1", ("https",)),
        ("127.evil.example", ("https",)),
        ("localhost.evil.example", ("https",)),
    ],
)
def test_plain_http_is_for_loopback_only(host: str, schemes: tuple[str, ...]) -> None:
    [found] = HostRules([]).endpoints(parse_reference(f"{host}/x"))

    assert found.schemes == schemes
    assert is_loopback(host) is (schemes[0] == "http")


def test_mirrors_come_first_and_get_no_pushes(environ: dict[str, str]) -> None:
    own = '["docker.io"]\nmirrors = ["m.example/hub", "http://n.example:1"]\n'
    first, second, hub = endpoints(environ, own, "busybox")

    assert (first.host, first.repository) == ("m.example", "hub/library/busybox")
    assert (second.host, second.repository) == ("n.example:1", "library/busybox")
    assert (first.schemes, second.schemes) == (("https",), ("http",))
    assert not hub.is_mirror
    reference = parse_reference("busybox")
    assert host_rules(environ).endpoints(reference, is_push=True) == (hub,)


def test_the_longest_prefix_decides(environ: dict[str, str]) -> None:
    own = '["r.example"]\ninsecure = true\n["r.example/a"]\nlocation = "s.example/b"\n'

    [rewritten] = endpoints(environ, own, "r.example/a/c:1")
    [plain] = endpoints(environ, own, "r.example/ab:1")

    assert (rewritten.host, rewritten.repository) == ("s.example", "b/c")
    assert (plain.host, plain.schemes) == ("r.example", ("https", "http"))


def test_containers_files_are_read(environ: dict[str, str]) -> None:
    conf = """
[[registry]]
prefix = "*.corp.example"
insecure = true
[[registry]]
location = "r.example"
blocked = true
"""
    [found] = endpoints(environ, "", "x.corp.example/a", conf)

    assert not found.tls.is_verified
    with pytest.raises(RegistryError, match="blocked"):
        endpoints(environ, "", "r.example/a", conf)


@pytest.mark.parametrize("own", ["x = 1", "[a", '["a"]\nlocatoin = "b"', '["a"]\nmirrors = "b"'])
def test_a_malformed_file_is_told(environ: dict[str, str], own: str) -> None:
    with pytest.raises(RegistryError, match=r"registries\.toml"):
        endpoints(environ, own, "x")


def test_listed_networks_are_insecure() -> None:
    rules = HostRules([], ["10.0.0.0/8", "r.example:1"])

    found = [
        rules.endpoints(parse_reference(name))[0].tls.is_verified
        for name in ("10.1.2.3:5/x", "11.1.2.3:5/x", "r.example:1/x", "r.example:2/x")
    ]

    assert found == [False, True, False, True]


def test_a_mirror_that_is_down_is_passed_over(store: Store, environ: dict[str, str]) -> None:
    with serving(IMAGE.script) as dead:
        gone = dead.host
    with serving(IMAGE.script) as server:
        Path(environ["BUILDER_REGISTRIES"]).write_text(
            f'["{server.host}"]\nmirrors = ["http://{gone}"]\n'
        )
        with Registries(environ, CancelToken()) as client:
            located = pull(store, client, f"{server.host}/a/b:1")

    assert located.root.descriptor.digest == IMAGE.digest


def test_the_certificate_of_a_registry_counts(
    store: Store, environ: dict[str, str], tls_registry: Registry
) -> None:
    own = Path(environ["BUILDER_REGISTRIES"])
    own.write_text(f'["{tls_registry.host}"]\nca = "{tls_registry.directory}/cert.pem"\n')
    with Registries(environ, CancelToken()) as client:
        push(store, client, IMAGE, f"{tls_registry.host}/a/b:1")
        pull(store, client, f"{tls_registry.host}/a/b:1")

        assert client.destination(parse_reference(f"{tls_registry.host}/x")).session.origin[:8] == (
            "https://"
        )


def test_another_authority_is_refused_and_never_http_spoken(
    store: Store, environ: dict[str, str], tls_registry: Registry
) -> None:
    host = tls_registry.host.replace("127.0.0.1", "localhost")
    own = Path(environ["BUILDER_REGISTRIES"])
    own.write_text(f'["{host}"]\nca = "{tls_registry.directory}/cert.pem"\n')
    with Registries(environ, CancelToken()) as client, pytest.raises(NetworkError, match="TLS"):
        pull(store, client, f"{host}/a/b:1")  # the certificate is for another name


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://r.example/v2/", "http://p:1"),
        ("http://r.example/v2/", ""),
        ("https://x.corp/v2/", ""),
        ("https://corp/v2/", ""),
        ("https://10.1.1.1/v2/", ""),
        ("https://127.0.0.1:5/v2/", ""),
        ("https://notcorp/v2/", "http://p:1"),
        ("https://x.star/v2/", ""),
        ("https://x.notstar/v2/", "http://p:1"),
        ("https://port:5000/v2/", ""),
        ("https://port:5001/v2/", "http://p:1"),
    ],
)
def test_proxies(url: str, proxy: str) -> None:
    environ = {"HTTPS_PROXY": "p:1", "NO_PROXY": "corp, 10.0.0.0/8,*.star,port:5000"}

    assert proxy_of(url, environ) == proxy
