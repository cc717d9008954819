import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.concurrency import CancelToken
from builder.errors import AuthenticationError, BuilderError, InvalidImage, RegistryError
from builder.registry.auth import Challenge, parse_challenges
from builder.registry.client import Registries
from builder.registry.credentials import Credentials, CredentialStore
from builder.store.store import Store
from tests.engine.archives import layer
from tests.registry.images import pull, push
from tests.registry.servers import (
    PASSWORD,
    USER,
    Answer,
    Registry,
    Seen,
    Server,
    image_of,
    serving,
)

IMAGE = image_of(layer(file=os.urandom(1000)))
KNOWN = Credentials(USER, PASSWORD)


def logged_in(environ: Mapping[str, str], host: str) -> Registries:
    CredentialStore(environ).save(host, KNOWN)
    return Registries(environ, CancelToken())


def test_a_password_opens_a_registry(
    store: Store, environ: dict[str, str], private_registry: Registry
) -> None:
    with logged_in(environ, private_registry.host) as client:
        push(store, client, IMAGE, f"{private_registry.host}/a/b:1")
        pull(store, client, f"{private_registry.host}/a/b:1")


@pytest.mark.parametrize("credentials", [None, Credentials(USER, "wrong")])
def test_without_the_password_it_stays_closed(
    store: Store, environ: dict[str, str], private_registry: Registry, credentials: Credentials
) -> None:
    with (
        Registries(environ, CancelToken(), given=credentials) as client,
        pytest.raises(AuthenticationError, match="unauthorized") as caught,
    ):
        pull(store, client, f"{private_registry.host}/a/b:1")

    assert caught.value.exit_status == 11


class TokenServer:
    """A registry that wants tokens, of its own or another server's."""

    def __init__(self) -> None:
        self.realm = ""
        self.tokens = 0
        self.expired: set[str] = set()
        self.asked: list[Seen] = []

    def script(self, seen: Seen) -> Answer | None:
        if seen.path.startswith("/token"):
            self.asked.append(seen)
            self.tokens += 1
            return Answer(200, {}, json.dumps({"token": f"t{self.tokens}"}).encode())
        used = seen.headers.get("Authorization", "")
        if seen.path == "/v2/":
            return Answer(200)
        if not used.startswith("Bearer t") or used in self.expired:
            scope = "repository:a/b:pull"
            challenge = f'Bearer realm="{self.realm}",service="s",scope="{scope}"'
            return Answer(401, {"WWW-Authenticate": challenge})
        return IMAGE.script(seen)


def token_registry(server: Server, tokens: TokenServer, realm: str = "") -> None:
    tokens.realm = realm or f"http://{server.host}/token"


def test_tokens_are_asked_for_once_a_scope(store: Store, environ: dict[str, str]) -> None:
    tokens = TokenServer()
    with serving(tokens.script) as server, logged_in(environ, server.host) as client:
        token_registry(server, tokens)

        pull(store, client, f"{server.host}/a/b:1")

    [asked] = tokens.asked
    assert parse_qs(urlsplit(asked.path).query)["scope"] == ["repository:a/b:pull"]
    assert asked.headers["Authorization"] == KNOWN.basic()


def test_an_expired_token_is_replaced(store: Store, environ: dict[str, str]) -> None:
    tokens = TokenServer()
    with serving(tokens.script) as server, Registries(environ, CancelToken()) as client:
        token_registry(server, tokens)
        pull(store, client, f"{server.host}/a/b:1")
        tokens.expired.add("Bearer t1")

        pull(store, client, f"{server.host}/a/b:2")

    assert tokens.tokens == 2


def test_a_plain_realm_elsewhere_gets_no_password(store: Store, environ: dict[str, str]) -> None:
    tokens = TokenServer()
    with serving(tokens.script) as other, serving(tokens.script) as server:
        token_registry(server, tokens, f"http://{other.host}/token")
        with logged_in(environ, server.host) as client:
            pull(store, client, f"{server.host}/a/b:1")

        assert other.paths() != []
        assert all("Authorization" not in seen.headers for seen in other.seen)
        assert all(PASSWORD not in seen.path for seen in other.seen)


def test_a_plain_realm_gets_it_where_the_user_says_so(
    store: Store, environ: dict[str, str]
) -> None:
    tokens = TokenServer()
    with serving(tokens.script) as other, serving(tokens.script) as server:
        token_registry(server, tokens, f"http://{other.host}/token")
        Path(environ["BUILDER_REGISTRIES"]).write_text(
            f'["{server.host}"]\ntoken-hosts = ["http://{other.host}"]\n'
        )
        with logged_in(environ, server.host) as client:
            pull(store, client, f"{server.host}/a/b:1")

        assert other.seen[0].headers["Authorization"] == KNOWN.basic()


@pytest.mark.parametrize("way", ["port", "name"])
def test_a_redirect_elsewhere_carries_no_credentials(
    store: Store, environ: dict[str, str], way: str
) -> None:
    with serving(IMAGE.script) as other:
        name = "127.0.0.1" if way == "port" else "localhost"
        target = f"http://{name}:{other.server_address[1]}"

        def script(seen: Seen) -> Answer | None:
            if "Authorization" not in seen.headers and seen.path != "/v2/":
                return Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})
            if "/blobs/" in seen.path:
                return Answer(307, {"Location": f"{target}{seen.path}"})
            return IMAGE.script(seen)

        with serving(script) as server, logged_in(environ, server.host) as client:
            pull(store, client, f"{server.host}/a/b:1")

        assert len(other.seen) == 2
        assert all("Authorization" not in seen.headers for seen in other.seen)


@pytest.mark.parametrize(
    "location",
    ["/v2/a/b/blobs/loop", "file:///etc/passwd", "ftp://x/y", "http://[", "", "http://u:p@h/",
     "http://169.254.169.254/latest"],
)  # fmt: skip
def test_bad_redirects_are_refused(store: Store, client: Registries, location: str) -> None:
    def script(seen: Seen) -> Answer | None:
        if "/blobs/" in seen.path:
            return Answer(302, {"Location": location})
        return IMAGE.script(seen)

    with serving(script) as server:
        with pytest.raises(RegistryError):
            pull(store, client, f"{server.host}/a/b:1")

        assert len(server.seen) < 30


def test_credentials_are_kept_privately(environ: dict[str, str]) -> None:
    store = CredentialStore(environ)
    Path(store.path).parent.mkdir()
    Path(store.path).write_text('{"detachKeys": "ctrl-x"}')

    store.save("h.example", KNOWN)

    assert CredentialStore(environ).find("h.example") == KNOWN
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o600
    assert json.loads(Path(store.path).read_text())["detachKeys"] == "ctrl-x"
    assert store.erase("h.example")
    assert not store.erase("h.example")
    assert store.find("h.example").is_empty


@pytest.mark.parametrize(
    "name", ["https://h.example", "https://h.example/v1/", "h.example", "http://h.example"]
)
def test_other_spellings_are_found(environ: dict[str, str], name: str) -> None:
    store = CredentialStore(environ)

    store.save(name, KNOWN)

    assert store.find("h.example") == KNOWN


def helper(
    environ: dict[str, str], tmp_path: Path, script: str, **config: object
) -> CredentialStore:
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    environ["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    os.environ.setdefault("PATH", "")
    store = CredentialStore(environ)
    Path(store.path).parent.mkdir()
    Path(store.path).write_text(json.dumps(config))
    return store


def test_a_helper_is_asked(environ: dict[str, str], tmp_path: Path) -> None:
    script = """read -r url; printf '{"Username":"%s","Secret":"%s"}' "$1" "$url" """
    store = helper(environ, tmp_path, script, credHelpers={"h.example": "test"})

    assert store.find("h.example") == Credentials("get", "h.example")
    assert store.find("other.example").is_empty


def test_an_identity_token_is_told_from_a_password(environ: dict[str, str], tmp_path: Path) -> None:
    script = """cat >/dev/null; echo '{"Username":"<token>","Secret":"x"}'"""
    store = helper(environ, tmp_path, script, credsStore="test")

    assert store.find("h.example") == Credentials(identity_token="x")


def test_what_a_helper_does_not_know_is_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    script = "cat >/dev/null; echo 'credentials not found in native keychain'; exit 1"
    store = helper(environ, tmp_path, script, credsStore="test")

    assert store.find("h.example").is_empty


@pytest.mark.parametrize("name", ["../x", "a b", "x;y", "none-such-helper"])
def test_a_helper_that_is_none_is_an_error(
    environ: dict[str, str], tmp_path: Path, name: str
) -> None:
    store = helper(environ, tmp_path, "exit 0", credsStore=name)

    with pytest.raises(BuilderError):
        store.find("h.example")


def test_broken_credentials_are_an_error(environ: dict[str, str]) -> None:
    store = CredentialStore(environ)
    Path(store.path).parent.mkdir()
    Path(store.path).write_text('{"auths": {"h.example": {"auth": "###"}}}')

    with pytest.raises(InvalidImage):
        store.find("h.example")


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
            [Challenge("bearer", {
                "realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"
            })],
        ),
        ('Basic realm="a, b", Bearer realm=c', [
            Challenge("basic", {"realm": "a, b"}), Challenge("bearer", {"realm": "c"}),
        ]),
        (r'Basic realm="a\"b"', [Challenge("basic", {"realm": 'a"b'})]),
        ("Negotiate", [Challenge("negotiate", {})]),
        ("", []),
    ],
)  # fmt: skip
def test_challenges(header: str, challenges: list[Challenge]) -> None:
    assert parse_challenges(header) == challenges


@given(st.text(alphabet='Bearer realm="x",= \\', max_size=60))
def test_no_challenge_confuses_the_parser(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower()


@pytest.mark.parametrize("location", ["http://169.254.169.254/x", "ftp://h/x", "http://u:p@h/x"])
def test_no_upload_goes_where_only_we_can_reach(
    store: Store, client: Registries, location: str
) -> None:
    def script(seen: Seen) -> Answer | None:
        if seen.method == "POST":
            return Answer(202, {"Location": location})
        return Answer(200) if seen.path == "/v2/" else None

    with serving(script) as server, pytest.raises(RegistryError, match="not followed"):
        push(store, client, IMAGE, f"{server.host}/a/b:1")
