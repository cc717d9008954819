"""The image configuration: what a container of the image runs, and how the image came to be.

`RunConfig` is the inner `config` object, `ImageConfig` the whole document. Times are RFC 3339
strings, kept as they were written. Durations are nanoseconds, as Go writes them.

Spec: OCI image-spec, config.md; Docker's additions are ArgsEscaped, Healthcheck, OnBuild, Shell.
"""

from binascii import b2a_base64
from collections.abc import Sequence

from builder.errors import InvalidImage
from builder.oci import json
from builder.oci.digest import Digest, digest_of, parse_digest
from builder.oci.platform import Platform
from builder.values import NamedTuple

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_CONFIG_BYTES = 8 << 20
MAX_HISTORY = 10_000
INLINE_CACHE = "vnd.builder.cache.v1"
"""The member of a config that carries the cache of its build; other readers skip it."""


class Healthcheck(NamedTuple):
    """How to ask whether a container works; durations in nanoseconds, 0 meaning the default."""

    test: tuple[str, ...]
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


class RunConfig(NamedTuple):
    """Defaults for a container. `env` holds `NAME=value`; None means absent where empty differs."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    on_build: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    stop_signal: str = ""
    shell: tuple[str, ...] | None = None


class History(NamedTuple):
    """One line of an image's history; layers and non-empty entries correspond in order."""

    created: str | None = None
    created_by: str = ""
    comment: str = ""
    author: str = ""
    is_empty_layer: bool = False


class ImageConfig(NamedTuple):
    """The whole configuration document; `diff_ids` lists the layers, the lowest first."""

    platform: Platform
    config: RunConfig = RunConfig()
    diff_ids: tuple[Digest, ...] = ()
    history: tuple[History, ...] = ()
    created: str | None = None
    author: str = ""
    cache: bytes = b""
    """What a builder wants to know again of the steps that made the layers. It is written and never
    read back: an image that stands on this one has other steps."""


def chain_id(diff_ids: Sequence[Digest]) -> Digest | None:
    """Name a stack of layers; None for no layers.

    Spec: OCI image-spec, config.md, "Layer ChainID".
    """
    chain: Digest | None = None
    for diff_id in diff_ids:
        chain = chain_on(chain, diff_id)
    return chain


def chain_on(chain: Digest | None, diff_id: Digest) -> Digest:
    """Name the stack of layers that has one more layer on top."""
    return diff_id if chain is None else digest_of(f"{chain} {diff_id}".encode())


def parse_config(content: bytes) -> ImageConfig:
    """Parse a configuration document; raise InvalidImage if it breaks the specification."""
    value = json.load_object(content, what="the image config", max_bytes=MAX_CONFIG_BYTES)
    rootfs = json.member(value, "rootfs") or {}
    run = json.member(value, "config")
    platform = Platform(
        json.string(value, "os", ""),
        json.string(value, "architecture", ""),
        json.string(value, "variant", ""),
        json.string(value, "os.version", ""),
    )
    return ImageConfig(
        platform,
        RunConfig() if run is None else _run_config(run),
        tuple(parse_digest(diff_id) for diff_id in json.strings(rootfs, "diff_ids") or ()),
        tuple(_history(entry) for entry in json.members(value, "history", limit=MAX_HISTORY)),
        json.string(value, "created", "") or None,
        json.string(value, "author", ""),
    )


def to_json(image: ImageConfig) -> bytes:
    """Write the document; equal values give equal bytes, empty members are left out."""
    value: dict[str, object] = {"architecture": image.platform.architecture}
    if image.author:
        value["author"] = image.author
    value["config"] = run_config_json(image.config)
    value["created"] = image.created
    value["history"] = [_history_json(entry) for entry in image.history]
    value["os"] = image.platform.os
    if image.platform.os_version:
        value["os.version"] = image.platform.os_version
    value["rootfs"] = {"type": "layers", "diff_ids": list(image.diff_ids)}
    if image.platform.variant:
        value["variant"] = image.platform.variant
    if image.cache:
        value[INLINE_CACHE] = b2a_base64(image.cache, newline=False).decode()
    return json.dumps({name: v for name, v in value.items() if v is not None})


def run_config_json(config: RunConfig) -> dict[str, object]:
    """Turn the inner object into JSON, members in the order that Docker writes them."""
    value: dict[str, object] = {
        "User": config.user,
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Env": list(config.env),
        "Entrypoint": _list(config.entrypoint),
        "Cmd": _list(config.cmd),
        "Healthcheck": None if config.healthcheck is None else _health_json(config.healthcheck),
        "ArgsEscaped": config.args_escaped,
        "Volumes": {path: {} for path in config.volumes},
        "WorkingDir": config.working_dir,
        "OnBuild": list(config.on_build),
        "Labels": dict(config.labels),
        "StopSignal": config.stop_signal,
        "Shell": _list(config.shell),
    }
    return {name: member for name, member in value.items() if member}


def _run_config(value: json.Object) -> RunConfig:
    health = json.member(value, "Healthcheck")
    return RunConfig(
        user=json.string(value, "User", ""),
        exposed_ports=_set(value, "ExposedPorts"),
        env=json.strings(value, "Env") or (),
        entrypoint=_argv(value, "Entrypoint"),
        cmd=_argv(value, "Cmd"),
        healthcheck=None if health is None else _healthcheck(health),
        args_escaped=json.boolean(value, "ArgsEscaped"),
        volumes=_set(value, "Volumes"),
        working_dir=json.string(value, "WorkingDir", ""),
        on_build=json.strings(value, "OnBuild") or (),
        labels=tuple(json.string_map(value, "Labels").items()),
        stop_signal=json.string(value, "StopSignal", ""),
        shell=json.strings(value, "Shell"),
    )


def _argv(value: json.Object, name: str) -> tuple[str, ...] | None:
    found = value.get(name)
    return (found,) if isinstance(found, str) and found else json.strings(value, name)


def _set(value: json.Object, name: str) -> tuple[str, ...]:
    return tuple(json.member(value, name) or ())


def _healthcheck(value: json.Object) -> Healthcheck:
    return Healthcheck(
        json.strings(value, "Test") or (),
        json.integer(value, "Interval", 0),
        json.integer(value, "Timeout", 0),
        json.integer(value, "StartPeriod", 0),
        json.integer(value, "StartInterval", 0),
        json.integer(value, "Retries", 0),
    )


def _health_json(health: Healthcheck) -> dict[str, object]:
    value: dict[str, object] = {
        "Test": list(health.test),
        "Interval": health.interval_ns,
        "Timeout": health.timeout_ns,
        "StartPeriod": health.start_period_ns,
        "StartInterval": health.start_interval_ns,
        "Retries": health.retries,
    }
    return {name: member for name, member in value.items() if member}


def _history(value: json.Object) -> History:
    return History(
        json.string(value, "created", "") or None,
        json.string(value, "created_by", ""),
        json.string(value, "comment", ""),
        json.string(value, "author", ""),
        json.boolean(value, "empty_layer"),
    )


def _history_json(entry: History) -> dict[str, object]:
    value: dict[str, object] = {
        "created": entry.created,
        "created_by": entry.created_by,
        "author": entry.author,
        "comment": entry.comment,
        "empty_layer": entry.is_empty_layer,
    }
    return {name: member for name, member in value.items() if member}


def _list(items: tuple[str, ...] | None) -> list[str] | None:
    return None if items is None else list(items)


def check_layer_count(image: ImageConfig, layers: int) -> None:
    """Raise InvalidImage unless the config lists as many layers as the manifest."""
    if len(image.diff_ids) != layers:
        raise InvalidImage(
            f"the manifest has {layers} layers but the config lists {len(image.diff_ids)}"
        )
