"""Devices of RUN --device: what the machine's CDI documents add to a step for each name.

Only what a sandbox can take is read: device nodes, variables and bind mounts. Hooks are refused,
since they would run outside of the sandbox.

Documents are JSON, or YAML where PyYAML is installed. One that cannot be read without it is told of
when no other document knows the device.

Spec: Container Device Interface 0.8.0, SPEC.md.
"""

import os
from collections.abc import Iterator, Sequence

from builder.errors import Denied, InvalidImage, NotFound
from builder.oci import json
from builder.sandbox.spec import Bind, Device
from builder.values import NamedTuple

FOLDERS = ("/etc/cdi", "/var/run/cdi")
_YAML = (".yaml", ".yml")
_MAX_BYTES = 4 << 20
_MAX_ITEMS = 10_000


class Edits(NamedTuple):
    """What devices bring into a step."""

    devices: tuple[Device, ...] = ()
    env: tuple[str, ...] = ()
    mounts: tuple[Bind, ...] = ()


def edits(wanted: Sequence[str], folders: Sequence[str] = FOLDERS) -> Edits:
    """Find what `VENDOR/CLASS[=NAME][,required]` words stand for.

    A device that is not required may be missing. Raises NotFound for one that is, Denied for hooks.
    """
    found = Edits()
    for word in wanted:
        name, _, flags = word.partition(",")
        pieces = _edits_of(name.removeprefix("name="), folders)
        if pieces is None:
            if "required" in flags.split(","):
                raise NotFound(
                    f"the device {name} is not registered on this machine",
                    fix=f"describe it in a JSON document in {folders[0]}",
                )
            continue
        for piece in pieces:
            found = _with(found, piece)
    return found


def _edits_of(name: str, folders: Sequence[str]) -> list[json.Object] | None:
    """Give the edits of a device: those of its document, then its own; None if it is unknown."""
    kind, _, device_name = name.partition("=")
    unread: list[str] = []
    for document in _documents(folders, unread):
        if json.string(document, "kind", "") != kind:
            continue
        for device in json.members(document, "devices", limit=_MAX_ITEMS):
            if device_name in {"", json.string(device, "name", "")}:
                sources = (document, device)
                return [json.member(source, "containerEdits") or {} for source in sources]
    if unread:
        raise NotFound(
            f"the device {name} may be described in {unread[0]}, which cannot be read without"
            " PyYAML",
            fix="install PyYAML beside builder (its extra `yaml`), or write the document as JSON",
        )
    return None


def _documents(folders: Sequence[str], unread: list[str]) -> Iterator[json.Object]:
    """Read all documents; the YAML ones that cannot be read are listed in `unread`."""
    for folder in folders:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            if not name.endswith((".json", *_YAML)):
                continue
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                content = file.read(_MAX_BYTES)
            what = f"the device document {name}"
            as_json = _json_of(content, what) if name.endswith(_YAML) else content
            if as_json is None:
                unread.append(path)
            else:
                yield json.load_object(as_json, what=what)


def _json_of(content: bytes, what: str) -> bytes | None:
    """Write a YAML document as JSON, for one way of checking both; None without PyYAML."""
    try:
        import yaml
    except ImportError:
        return None
    try:
        return json.dumps(yaml.safe_load(content))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise InvalidImage(f"{what} is not valid YAML: {error}") from None


def _with(found: Edits, piece: json.Object) -> Edits:
    if piece.get("hooks"):
        raise Denied(
            "the device wants hooks to run outside of the sandbox",
            fix="describe the device without hooks",
        )
    devices = [
        Device(json.string(node, "hostPath", "") or path, path)
        for node in json.members(piece, "deviceNodes", limit=_MAX_ITEMS)
        for path in (json.string(node, "path"),)
    ]
    mounts = [
        Bind(
            json.string(mount, "containerPath"),
            json.string(mount, "hostPath"),
            is_read_only="ro" in (json.strings(mount, "options") or ()),
        )
        for mount in json.members(piece, "mounts", limit=_MAX_ITEMS)
    ]
    return Edits(
        (*found.devices, *devices),
        (*found.env, *(json.strings(piece, "env") or ())),
        (*found.mounts, *mounts),
    )
