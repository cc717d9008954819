"""The rows of `ps`, and its filters."""

import time
from collections.abc import Callable, Mapping, Sequence

from builder.containers.creation import Workplace
from builder.containers.model import Container, State, parse_time
from builder.containers.records import Record
from builder.errors import NotFound, UsageError
from builder.networks.ports import ANY_ADDRESS, PortBinding, parse_key
from builder.text import nearest

Filters = Mapping[str, Sequence[str]]
Test = Callable[[Record, str], bool]


def listed(place: Workplace, filters: Filters, *, is_all: bool) -> list[Record]:
    """List the containers that pass, the newest first; without `is_all` only those that run."""
    _check(filters)
    records = place.records.all()
    if not is_all and not {"status", "exited"} & filters.keys():
        records = [record for record in records if record.state.is_alive]
    for key in ("before", "since"):
        for name in filters.get(key, ()):
            created = place.records.get(name).container.created
            is_before = key == "before"
            records = [
                r
                for r in records
                if (r.container.created < created if is_before else r.container.created > created)
            ]
    return [record for record in records if _passes(record, filters)]


def prunable(place: Workplace, filters: Filters) -> list[Record]:
    """List the containers that do not run and that `prune` may take; raise UsageError."""
    known = {"label", "label!", "until"}
    for key in filters:
        if key not in known:
            raise UsageError(f"there is no filter {key!r}", fix="use label, label! or until")
    return [
        record
        for record in place.records.all()
        if not record.state.is_alive
        and all(has_label(record.container.config.labels, v) for v in filters.get("label", ()))
        and not any(has_label(record.container.config.labels, v) for v in filters.get("label!", ()))
        and all(_is_before(record.container.created, v) for v in filters.get("until", ()))
    ]


def _is_before(created: str, text: str) -> bool:
    """Tell whether something was made before a time, or that long ago."""
    return parse_time(created) < moment_of(text)


def moment_of(text: str) -> float:
    """Read RFC 3339, Unix seconds, or a duration before now; raise UsageError."""
    if text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        if "-" in text[1:]:
            return parse_time(text if "T" in text else f"{text}T00:00:00Z")
        return time.time() - _duration_s(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a time", fix="write 2024-01-31T12:00:00Z or 10m"
        ) from None


def _duration_s(text: str) -> float:
    units = {"ms": 0.001, "h": 3600.0, "m": 60.0, "s": 1.0, "d": 86400.0}
    total, rest = 0.0, text
    while rest:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(digits) :]
        unit = next((u for u in units if rest.startswith(u)), "")
        if not digits or not unit:
            raise ValueError(text)
        total += float(digits) * units[unit]
        rest = rest[len(unit) :]
    return total


def status_text(state: State, human_age: Callable[[float], str]) -> str:
    """Say in Docker's words how a container is; `human_age` words a number of seconds."""
    moment = time.time()
    if state.status in {"running", "paused"}:
        age = human_age(max(0.0, moment - parse_time(state.started_at)))
        return f"Up {age}{_mood(state)}"
    age = human_age(max(0.0, moment - parse_time(state.finished_at)))
    words = {
        "created": "Created",
        "restarting": f"Restarting ({state.exit_code}) {age} ago",
        "removing": "Removal In Progress",
        "exited": f"Exited ({state.exit_code}) {age} ago",
    }
    return words.get(state.status, "Dead")


def _mood(state: State) -> str:
    if state.status == "paused":
        return " (Paused)"
    if state.health is None:
        return ""
    word = state.health.status
    return " (health: starting)" if word == "starting" else f" ({word})"


def ports_text(container: Container, state: State) -> str:
    """Write the published and exposed ports of a container that runs."""
    if not state.is_alive:
        return ""
    texts = [f"{p.host_ip}:{p.host_port}->{p.key}" for p in state.ports]
    published = {port.key for port in state.ports}
    texts += [key for key in container.config.exposed_ports if key not in published]
    return ", ".join(sorted(texts, key=lambda text: (not text.startswith(ANY_ADDRESS), text)))


def published_at(ports: Sequence[PortBinding], text: str, name: str) -> list[str]:
    """List the host addresses of one container port, `80` or `80/udp`; raise NotFound."""
    number, protocol = parse_key(text)
    found = [p for p in ports if (p.container_port, p.protocol) == (number, protocol)]
    if not found:
        raise NotFound(f"no public port '{number}/{protocol}' published for {name}")
    return [f"{port.host_ip}:{port.host_port}" for port in found]


def command_text(container: Container) -> str:
    """Write a command as one line."""
    return " ".join(container.argv)


def has_label(labels: Sequence[tuple[str, str]], wanted: str) -> bool:
    """Tell whether a label is there, `key`, or has a value, `key=value`."""
    key, equals, value = wanted.partition("=")
    found = dict(labels)
    return key in found and (not equals or found[key] == value)


def _passes(record: Record, filters: Filters) -> bool:
    for key, values in filters.items():
        test = _TESTS.get(key)
        if test is None:
            continue
        results = [test(record, value) for value in values]
        if not (all(results) if key == "label" else any(results)):
            return False
    return True


def _check(filters: Filters) -> None:
    known = {*_TESTS, "before", "since"}
    for key in filters:
        if key not in known:
            near = nearest(key, known)
            raise UsageError(
                f"there is no filter {key!r}",
                fix=f"did you mean {near}?" if near else f"use one of {', '.join(sorted(known))}",
            )


def _matches(text: str, pattern: str) -> bool:
    import re

    try:
        return re.search(pattern, text) is not None
    except re.error:
        return pattern in text


def _is_of_image(record: Record, wanted: str) -> bool:
    image = record.container.image
    name = wanted if ":" in wanted.rpartition("/")[2] else f"{wanted}:latest"
    digits = record.container.image_id.removeprefix("sha256:")
    return (
        image in {wanted, name}
        or f"{image}:latest" == name
        or digits.startswith(wanted.removeprefix("sha256:"))
    )


def _has_port(record: Record, wanted: str, *, is_published: bool) -> bool:
    key = wanted if "/" in wanted else f"{wanted}/tcp"
    if is_published:
        number = wanted.partition("/")[0]
        return any(key == port.key or number == str(port.host_port) for port in record.state.ports)
    return key in record.container.config.exposed_ports


def _has_volume(record: Record, wanted: str) -> bool:
    return any(wanted in {point.name, point.target} for point in record.container.mounts)


def _has_health(record: Record, wanted: str) -> bool:
    health = record.state.health
    return (health.status if health else "none") == wanted


_TESTS: Mapping[str, Test] = {
    "id": lambda record, value: record.container.id.startswith(value),
    "name": lambda record, value: _matches(record.container.name, value.lstrip("/")),
    "label": lambda record, value: has_label(record.container.config.labels, value),
    "status": lambda record, value: record.state.status == value,
    "exited": lambda record, value: (
        record.state.status == "exited" and str(record.state.exit_code) == value
    ),
    "ancestor": _is_of_image,
    "volume": _has_volume,
    "network": lambda record, value: value in (record.container.networks or ("bridge",)),
    "publish": lambda record, value: _has_port(record, value, is_published=True),
    "expose": lambda record, value: _has_port(record, value, is_published=False),
    "health": _has_health,
}
