"""Configuration files about registries, wherever they exist.

They are our own registries.toml, containers' registries.conf, and Docker's daemon.json.
"""

import os
from collections.abc import Iterator, Mapping
from typing import cast

from builder.errors import RegistryError
from builder.oci import json
from builder.oci.reference import DEFAULT_DOMAIN
from builder.registry.hosts import HostRules, Mirror, Rule, rule_of

MAX_BYTES = 1 << 20
_SYSTEM = "/etc"


def host_rules(environ: Mapping[str, str], *, is_verified: bool = True) -> HostRules:
    """Read all files that are there; raise RegistryError for one that is malformed.

    BUILDER_REGISTRIES names another file in place of our own ones.
    """
    own = [rule for path in _own_files(environ) for rule in _own_rules(path)]
    containers = [rule for path in _containers_files(environ) for rule in _containers_rules(path)]
    docker, insecure = _docker_rules(f"{_SYSTEM}/docker/daemon.json")
    certificates = [
        f"{folder}/certs.d"
        for folder in (
            f"{_config_home(environ)}/builder", f"{_SYSTEM}/builder",
            f"{_config_home(environ)}/containers", f"{_SYSTEM}/containers", f"{_SYSTEM}/docker",
        )
    ]  # fmt: skip
    return HostRules([own, containers, docker], insecure, certificates, is_verified=is_verified)


def _config_home(environ: Mapping[str, str]) -> str:
    return environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"


def _own_files(environ: Mapping[str, str]) -> list[str]:
    if environ.get("BUILDER_REGISTRIES"):
        return [environ["BUILDER_REGISTRIES"]]
    return [
        f"{_config_home(environ)}/builder/registries.toml",
        f"{_SYSTEM}/builder/registries.toml",
    ]


def _containers_files(environ: Mapping[str, str]) -> list[str]:
    if environ.get("CONTAINERS_REGISTRIES_CONF"):
        return [environ["CONTAINERS_REGISTRIES_CONF"]]
    found = []
    for folder in (f"{_config_home(environ)}/containers", f"{_SYSTEM}/containers"):
        parts = f"{folder}/registries.conf.d"
        try:
            names = sorted(os.listdir(parts), reverse=True)
        except OSError:
            names = []
        found += [f"{parts}/{name}" for name in names if name.endswith(".conf")]
        found.append(f"{folder}/registries.conf")
    return found


def _own_rules(path: str) -> Iterator[Rule]:
    for prefix, value in _toml(path).items():
        if not isinstance(value, dict):
            raise RegistryError(f"{path}: {prefix!r} is not a table", fix=f'write ["{prefix}"]')
        yield rule_of(prefix, value, path)


def _containers_rules(path: str) -> Iterator[Rule]:
    """Read `[[registry]]` tables (version 2).

    Spec: containers-registries.conf(5).
    """
    tables = _toml(path).get("registry")
    for table in tables if isinstance(tables, list) else []:
        location = str(table.get("location", ""))
        prefix = str(table.get("prefix", "")) or location
        mirrors = table.get("mirror", [])
        yield Rule(
            prefix,
            "" if location == prefix else location,
            bool(table.get("insecure")),
            bool(table.get("blocked")),
            tuple(Mirror(str(m.get("location", "")), bool(m.get("insecure"))) for m in mirrors),
        )


def _docker_rules(path: str) -> tuple[list[Rule], list[str]]:
    content = _read(path)
    if content is None:
        return [], []
    value = json.load_object(content, what=path)
    mirrors = json.strings(value, "registry-mirrors") or ()
    insecure = list(json.strings(value, "insecure-registries") or ())
    rules = [Rule(DEFAULT_DOMAIN, mirrors=tuple(map(Mirror, mirrors)))] if mirrors else []
    return rules, insecure


def _toml(path: str) -> Mapping[str, object]:
    content = _read(path)
    if content is None:
        return {}
    import tomllib

    try:
        return cast("Mapping[str, object]", tomllib.loads(content.decode()))
    except ValueError as error:
        raise RegistryError(f"{path} is not TOML: {error}", fix="correct the file") from None


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    if len(content) > MAX_BYTES:
        raise RegistryError(f"{path} is larger than {MAX_BYTES} bytes")
    return content
