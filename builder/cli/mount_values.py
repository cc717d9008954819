"""Read `--volume`, `--mount` and `--tmpfs` as docker does."""

import os
from collections.abc import Mapping

from builder.cli import values
from builder.cli.options import Arguments
from builder.cli.session import Session
from builder.containers.request import MountRequest
from builder.errors import UsageError
from builder.text import nearest

MOUNT_TYPES = ("bind", "volume", "tmpfs", "image")
PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
VOLUME_WORDS = ("ro", "rw", "z", "Z", "nocopy", "consistent", "cached", "delegated", *PROPAGATIONS)
_NAMES = {
    "source": "source",
    "src": "source",
    "target": "target",
    "destination": "target",
    "dst": "target",
    "readonly": "readonly",
    "ro": "readonly",
    "type": "type",
    "bind-propagation": "propagation",
    "bind-nonrecursive": "nonrecursive",
    "bind-recursive": "recursive",
    "bind-create-src": "create",
    "consistency": "consistency",
    "volume-nocopy": "nocopy",
    "volume-subpath": "subpath",
    "volume-driver": "driver",
    "volume-label": "label",
    "volume-opt": "opt",
    "image-subpath": "subpath",
    "tmpfs-size": "size",
    "tmpfs-mode": "mode",
}
_TRUE = frozenset({None, "true", "1"})


def mounts(arguments: Arguments, session: Session) -> tuple[MountRequest, ...]:
    """Collect all mounts; raise UsageError for a malformed one, or two at one place."""
    found = [
        *(volume(text, session) for text in arguments.values("volume")),
        *(mount(text) for text in arguments.values("mount")),
        *(tmpfs(text) for text in arguments.values("tmpfs")),
    ]
    targets: set[str] = set()
    for request in found:
        target = os.path.normpath(request.target)
        if target in targets:
            raise UsageError(f"two mounts have the place {target}")
        targets.add(target)
    return tuple(found)


def volume(text: str, session: Session) -> MountRequest:
    """Read `[SOURCE:]DIR[:OPTIONS]`: a source with a slash is a directory, else a volume's name.

    Raises UsageError.
    """
    source, target, words = _volume_parts(text)
    for word in words:
        if word not in VOLUME_WORDS:
            near = nearest(word, VOLUME_WORDS)
            fix = f"did you mean {near}?" if near else "use ro, rw, z, Z, nocopy or a propagation"
            raise UsageError(f"a volume has no option {word!r}", fix=fix)
    is_read_only = "ro" in words
    if is_read_only and "rw" in words:
        raise UsageError(f"-v {text} is to be both ro and rw")
    options = tuple(word for word in words if word not in {"ro", "rw"})
    is_bind = source.startswith(("/", "./", "../", "~")) or source in {".", ".."}
    if not is_bind:
        return MountRequest(
            "volume", _absolute(target, text), source, is_read_only, options=options
        )
    path = os.path.normpath(os.path.join(session.cwd, source))
    return MountRequest(
        "bind", _absolute(target, text), path, is_read_only, is_source_created=True, options=options
    )


def _volume_parts(text: str) -> tuple[str, str, tuple[str, ...]]:
    match text.split(":"):
        case [target]:
            return "", target, ()
        case [source, target]:
            return source, target, ()
        case [source, target, options]:
            return source, target, tuple(word for word in options.split(",") if word)
        case _:
            raise UsageError(f"-v takes [SOURCE:]DIR[:OPTIONS], not {text!r}")


def _absolute(target: str, text: str) -> str:
    if not target.startswith("/"):
        raise UsageError(f"{target!r} in {text!r} is no absolute path of the container")
    if os.path.normpath(target) == "/":
        raise UsageError("nothing can be mounted at / of a container")
    return target


def mount(text: str) -> MountRequest:
    """Read `type=T,source=S,target=D,…`; raise UsageError."""
    found = _mount_fields(text)
    kind = found.get("type") or "volume"
    if kind not in MOUNT_TYPES:
        near = nearest(kind, MOUNT_TYPES)
        fix = f"did you mean {near}?" if near else f"use {', '.join(MOUNT_TYPES)}"
        raise UsageError(f"there is no mount type {kind!r}", fix=fix)
    target = found.get("target")
    if not target:
        raise UsageError(f"--mount {text} has no target")
    source = found.get("source") or ""
    if kind in {"bind", "image"} and not source:
        raise UsageError(f"--mount {text} has no source")
    if kind == "bind" and not source.startswith("/"):
        raise UsageError(f"the source {source!r} of a bind is no absolute path")
    return MountRequest(
        type=kind,
        target=_absolute(target, text),
        source=source,
        is_read_only=_is_true(found, "readonly"),
        is_source_created=_is_true(found, "create"),
        options=_mount_options(found),
    )


def _mount_fields(text: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for key, value in values.csv_pairs(text):
        name = _NAMES.get(key)
        if name is None:
            near = nearest(key, _NAMES)
            raise UsageError(
                f"--mount does not know {key!r} in {text!r}",
                fix=f"did you mean {near}?" if near else None,
            )
        found[name] = value
    return found


def _mount_options(found: Mapping[str, str | None]) -> tuple[str, ...]:
    options = []
    propagation = found.get("propagation")
    if propagation:
        options.append(propagation)
    if _is_true(found, "nonrecursive") or found.get("recursive") == "disabled":
        options.append("nonrecursive")
    if _is_true(found, "nocopy"):
        options.append("nocopy")
    options += [f"{name}={found[name]}" for name in ("subpath", "size", "mode") if found.get(name)]
    return tuple(options)


def _is_true(found: Mapping[str, str | None], name: str) -> bool:
    return name in found and found[name] in _TRUE


def tmpfs(text: str) -> MountRequest:
    """Read `DIR[:OPTIONS]`."""
    target, _, options = text.partition(":")
    words = tuple(word for word in options.split(",") if word)
    return MountRequest("tmpfs", _absolute(target, text), is_read_only="ro" in words, options=words)
