"""Credentials as Docker keeps them: config.json, credential stores and helpers.

A helper is a program `docker-credential-NAME`; its name is checked before it is run, without a
shell, and the secret goes through its standard streams only.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import cast

from builder.errors import AuthenticationError, InvalidImage
from builder.oci import json
from builder.store import atomic
from builder.values import NamedTuple

HELPER_TIMEOUT_S = 60
MAX_CONFIG_BYTES = 8 << 20
_TOKEN_USER = "<token>"  # noqa: S105 - the name that helpers give to identity tokens
_HELPER_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_NOT_FOUND = "credentials not found"


class Credentials(NamedTuple):
    """Who the user is to a registry: a password, an identity token, or a ready bearer token."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not any(self)

    def basic(self) -> str:
        """Write the value of an Authorization header."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {b64encode(pair).decode()}"

    def __repr__(self) -> str:
        """Never show a secret."""
        return f"Credentials({self.username!r}, …)"


class CredentialStore:
    """The user's credentials by registry; files are read when they are first asked for."""

    def __init__(self, environ: Mapping[str, str], path: str | None = None) -> None:
        """Find the files by the environment; `path` is one given on the command line."""
        home = environ.get("HOME", "")
        docker = environ.get("DOCKER_CONFIG") or f"{home}/.docker"
        self._environ = environ
        self.path = path or environ.get("REGISTRY_AUTH_FILE") or f"{docker}/config.json"
        runtime = environ.get("XDG_RUNTIME_DIR")
        config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
        self._others = [] if path else [f"{config}/containers/auth.json"]
        if runtime and not path:
            self._others.insert(0, f"{runtime}/containers/auth.json")

    def find(self, registry: str) -> Credentials:
        """Look up a registry: its helper, then the store, then the files; empty if unknown."""
        for path in (self.path, *self._others):
            config = self._config(path)
            helper = self._helper(config, registry)
            found = self._ask(helper, registry) if helper else Credentials()
            if found.is_empty:
                found = _entry(config, registry)
            if not found.is_empty:
                return found
        return Credentials()

    def save(self, registry: str, credentials: Credentials) -> str:
        """Keep credentials; give where: the name of a helper, or a path."""
        config = dict(self._config(self.path))
        helper = self._helper(config, registry)
        if helper:
            secret = credentials.identity_token or credentials.password
            user = _TOKEN_USER if credentials.identity_token else credentials.username
            request = {"ServerURL": registry, "Username": user, "Secret": secret}
            self._run(helper, "store", json.dumps(request))
            return helper
        entry: dict[str, object] = {}
        if credentials.username:
            pair = f"{credentials.username}:{credentials.password}".encode()
            entry["auth"] = b64encode(pair).decode()
        if credentials.identity_token:
            entry["identitytoken"] = credentials.identity_token
        auths = dict(json.member(config, "auths") or {})
        auths[registry] = cast("json.Json", entry)
        self._write({**config, "auths": auths})
        return self.path

    def erase(self, registry: str) -> bool:
        """Forget a registry; tell whether it was known."""
        config = dict(self._config(self.path))
        helper = self._helper(config, registry)
        was_known = False
        if helper and not self._ask(helper, registry).is_empty:
            self._run(helper, "erase", registry.encode())
            was_known = True
        auths = dict(json.member(config, "auths") or {})
        for name in _spellings(registry):
            was_known |= auths.pop(name, None) is not None
        if was_known:
            self._write({**config, "auths": auths})
        return was_known

    def _config(self, path: str) -> json.Object:
        content = atomic.read(path, MAX_CONFIG_BYTES) if os.path.isfile(path) else None
        if not content or not content.strip():
            return {}
        return json.load_object(content, what=path)

    def _write(self, config: json.Object) -> None:
        os.makedirs(os.path.dirname(self.path) or ".", mode=0o700, exist_ok=True)
        import json as plain

        atomic.write(self.path, plain.dumps(config, indent="\t").encode(), mode_bits=0o600)

    def _helper(self, config: json.Object, registry: str) -> str:
        helpers = json.string_map(config, "credHelpers")
        for name in _spellings(registry):
            if helpers.get(name):
                return helpers[name]
        return json.string(config, "credsStore", "")

    def _ask(self, helper: str, registry: str) -> Credentials:
        answer = self._run(helper, "get", registry.encode())
        if answer is None:
            return Credentials()
        value = json.load_object(answer, what=f"the answer of docker-credential-{helper}")
        user, secret = json.string(value, "Username", ""), json.string(value, "Secret", "")
        if user == _TOKEN_USER:
            return Credentials(identity_token=secret)
        return Credentials(user, secret)

    def _run(self, helper: str, verb: str, stdin: bytes) -> bytes | None:
        """Run a helper; None if it knows no such registry."""
        if not helper or not _HELPER_NAME.issuperset(helper):
            raise AuthenticationError(f"{helper[:100]!r} is not the name of a credential helper")
        import subprocess

        argv = [f"docker-credential-{helper}", verb]
        try:
            ended = subprocess.run(
                argv, input=stdin, capture_output=True, check=False,
                timeout=HELPER_TIMEOUT_S, env=dict(self._environ),
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise AuthenticationError(
                f"{argv[0]} could not be run: {error}", fix="install it, or log in again without"
            ) from None
        if ended.returncode == 0:
            return ended.stdout
        said = (ended.stdout or ended.stderr).decode("utf-8", "replace").strip()
        if verb == "get" and _NOT_FOUND in said:
            return None
        raise AuthenticationError(f"{argv[0]} {verb}: {said[:500]}")


def _entry(config: json.Object, registry: str) -> Credentials:
    auths = json.member(config, "auths") or {}
    for name in _spellings(registry):
        entry = json.member(auths, name)
        if entry:
            return _decoded(entry, name)
    return Credentials()


def _decoded(entry: json.Object, registry: str) -> Credentials:
    username, password = json.string(entry, "username", ""), json.string(entry, "password", "")
    encoded = json.string(entry, "auth", "")
    if encoded:
        try:
            username, _, password = b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            raise InvalidImage(
                f"the credentials of {registry!r} are malformed", fix="log in again"
            ) from None
    return Credentials(
        username,
        password.strip("\0"),
        json.string(entry, "identitytoken", ""),
        json.string(entry, "registrytoken", ""),
    )


def _spellings(registry: str) -> tuple[str, ...]:
    """List the names under which tools keep the credentials of one registry."""
    bare = registry.partition("://")[2] or registry
    host = bare.partition("/")[0]
    names = [registry, bare.rstrip("/"), host, f"https://{host}", f"http://{host}"]
    names += [f"https://{host}/v1/", f"https://{host}/v2/", f"{host}/v1", f"{host}/v2"]
    if host in {"index.docker.io", "docker.io"}:
        names += ["docker.io", "index.docker.io", "https://index.docker.io/v1/"]
    return tuple(dict.fromkeys(names))
