"""What a container will be: the image's configuration with the request's changes. Pure."""

import os
from collections.abc import Iterable

from builder.containers.model import SHORT_ID, Container, MountPoint, now
from builder.containers.request import ContainerRequest, EnvironmentWord, HealthRequest
from builder.errors import StartError, UsageError
from builder.networks.ports import exposed_keys
from builder.oci.config import DEFAULT_PATH, Healthcheck, RunConfig
from builder.values import NamedTuple

_NANOSECONDS = 1_000_000_000
_MAX_HOSTNAME = 63
_HOSTNAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")


class Base(NamedTuple):
    """What a new container stands on."""

    manifest: str
    image_id: str
    snapshot: int | None
    platform: str


class Fresh(NamedTuple):
    """What was decided for a new container."""

    id: str
    name: str
    config: RunConfig
    mounts: tuple[MountPoint, ...]
    networks: tuple[str, ...]


def composed(request: ContainerRequest, base: Base, fresh: Fresh) -> Container:
    """Put a new container together."""
    return Container(
        id=fresh.id,
        name=fresh.name,
        created=now(),
        image=request.image,
        image_id=base.image_id,
        manifest=base.manifest,
        snapshot=base.snapshot,
        platform=base.platform,
        config=fresh.config,
        argv=argv_of(fresh.config),
        hostname=_hostname(request, fresh.id),
        request=request,
        mounts=fresh.mounts,
        networks=fresh.networks,
    )


def effective_config(image: RunConfig, request: ContainerRequest) -> RunConfig:
    """Merge the image's defaults with what was asked for."""
    entrypoint, cmd = _command(image, request)
    labels = dict(image.labels)
    labels.update(request.labels)
    return image._replace(
        user=request.user or image.user,
        exposed_ports=tuple(
            dict.fromkeys(
                (
                    *exposed_keys(image.exposed_ports),
                    *exposed_keys(request.exposed),
                    *(f"{port.container_port}/{port.protocol}" for port in request.ports),
                )
            )
        ),
        env=merged_environment(image.env, request.environment),
        entrypoint=entrypoint,
        cmd=cmd,
        healthcheck=merged_healthcheck(image.healthcheck, request.health),
        working_dir=request.workdir or image.working_dir,
        labels=tuple(labels.items()),
        stop_signal=request.stop_signal or image.stop_signal,
    )


def argv_of(config: RunConfig) -> tuple[str, ...]:
    """Give the words to run; raise StartError if there are none."""
    argv = (*(config.entrypoint or ()), *(config.cmd or ()))
    if not argv or not argv[0]:
        raise StartError(
            "no command specified",
            fix="give a command after the image, or set CMD or ENTRYPOINT in it",
        )
    return argv


def merged_environment(image: Iterable[str], words: Iterable[EnvironmentWord]) -> tuple[str, ...]:
    """Lay the request's variables over the image's; a word without a value removes one."""
    merged = {word.partition("=")[0]: word.partition("=")[2] for word in image if word}
    for word in words:
        if word.value is None:
            merged.pop(word.name, None)
        else:
            merged[word.name] = word.value
    return tuple(f"{name}={value}" for name, value in merged.items())


def process_environment(
    config: RunConfig, *, hostname: str, home: str, is_tty: bool
) -> tuple[str, ...]:
    """Give the environment of the main process: our defaults, then the configuration's."""
    merged = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if is_tty:
        merged["TERM"] = "xterm"
    for word in config.env:
        name, _, value = word.partition("=")
        merged[name] = value
    merged.setdefault("HOME", home or "/")
    return tuple(f"{name}={value}" for name, value in merged.items() if name)


def merged_healthcheck(image: Healthcheck | None, request: HealthRequest) -> Healthcheck | None:
    """Lay the request's health options over the image's check; None if there is no check."""
    if request.is_disabled:
        return Healthcheck(("NONE",))
    base = image or Healthcheck(())
    if request.command is not None:
        base = base._replace(test=("CMD-SHELL", request.command))
    base = base._replace(
        interval_ns=_ns(request.interval_s, base.interval_ns),
        timeout_ns=_ns(request.timeout_s, base.timeout_ns),
        start_period_ns=_ns(request.start_period_s, base.start_period_ns),
        start_interval_ns=_ns(request.start_interval_s, base.start_interval_ns),
        retries=base.retries if request.retries is None else request.retries,
    )
    return base if base.test else None


def check_hostname(name: str) -> str:
    """Return a valid host name as it is; raise UsageError for any other."""
    if len(name) > _MAX_HOSTNAME or not _HOSTNAME.issuperset(name) or name[:1] in {"-", "."}:
        raise UsageError(
            f"{name[:100]!r} is not a host name",
            fix="use at most 63 letters, digits, dots and dashes",
        )
    return name


def _hostname(request: ContainerRequest, container_id: str) -> str:
    if request.hostname:
        return request.hostname
    if request.networks == ("host",) or request.uts_mode == "host":
        return os.uname().nodename
    return container_id[:SHORT_ID]


def _ns(seconds: float | None, default: int) -> int:
    return default if seconds is None else int(seconds * _NANOSECONDS)


def _command(
    image: RunConfig, request: ContainerRequest
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Choose entry point and command: a given entry point drops the image's command."""
    if request.entrypoint is None:
        return image.entrypoint, request.words or image.cmd
    entrypoint = (request.entrypoint,) if request.entrypoint else None
    return entrypoint, request.words or None
