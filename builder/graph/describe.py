"""What an operation was asked to do, field by field, as text: to name what differs between two.

Values whose name promises a secret are replaced by a short digest, which still tells them apart.
"""

from builder.graph.ops import (
    Context,
    Copy,
    Exec,
    Files,
    Git,
    Http,
    Image,
    Merge,
    Mkdir,
    Mount,
    Op,
    Scratch,
    Write,
)
from builder.oci.digest import Digest, digest_of, hex_of, key

Fields = tuple[tuple[str, str], ...]

COMMAND = "command"
BASE = "base"
HIDDEN = "hidden:"
_SECRET_WORDS = (
    "APIKEY", "API_KEY", "CREDENTIAL", "PASSPHRASE", "PASSWD", "PASSWORD", "PRIVATE_KEY", "SECRET",
    "TOKEN",
)  # fmt: skip


def is_secret(name: str) -> bool:
    """Whether the name of a variable promises a value that must not be shown."""
    upper = name.upper()
    return any(word in upper for word in _SECRET_WORDS)


def described(op: Op, arguments: frozenset[str] = frozenset()) -> Fields:
    """List the fields that decide an operation's result; variables in `arguments` are ARGs."""
    match op:
        case Exec():
            return _exec(op, arguments)
        case Files():
            return tuple(field for field in _actions(op))
        case Image() | Http() | Git():
            return _source(op)
        case Context():
            return (("ignore file", "\n".join(op.patterns)),)
        case Merge() | Scratch():
            return ()


def _source(op: Image | Http | Git) -> Fields:
    match op:
        case Image():
            return ((BASE, op.manifest), ("layers", key("layers/1", op.diff_ids)))
        case Http():
            return (("url", op.url), ("content", op.digest), ("mode", f"{op.mode_bits:04o}"))
        case Git():
            return (("url", op.url), ("commit", op.commit), ("subdirectory", op.subdir))


def _exec(op: Exec, arguments: frozenset[str]) -> Fields:
    fields = [(COMMAND, _command(op.argv))]
    for variable in op.env:
        name, _, value = variable.partition("=")
        shown = f"{HIDDEN}{_short(value)}" if is_secret(name) else value
        fields.append((f"{'ARG' if name in arguments else 'ENV'} {name}", shown))
    fields += [("working directory", op.cwd), ("user", op.user), ("network", op.network)]
    fields += [(f"mount {_target(mount)}", _mount(mount)) for mount in op.mounts]
    fields += [
        ("security", op.security),
        ("hostname", op.hostname),
        ("extra hosts", " ".join(name for name, _address in op.extra_hosts)),
        ("size of /dev/shm", str(op.shm_size_bytes)),
        ("ulimits", " ".join(f"{u.name}={u.soft}:{u.hard}" for u in op.ulimits)),
        ("devices", " ".join(op.devices)),
    ]
    return tuple(fields)


def _command(argv: tuple[str, ...]) -> str:
    """Show the script of a shell form alone."""
    if argv[:2] == ("/bin/sh", "-c") and len(argv) == 3:  # noqa: PLR2004 - shell, -c, script
        return argv[2]
    return " ".join(argv)


def _target(mount: Mount) -> str:
    return getattr(mount, "target", "") or getattr(mount, "id", "")


def _mount(mount: Mount) -> str:
    kind = type(mount).__name__.removesuffix("Mount").lower()
    parts = [f"{name}={_plain(value)}" for name, value in mount._asdict().items()]
    return " ".join([f"type={kind}", *parts])


def _plain(value: object) -> str:
    text = str(value)
    return text if len(text) < 200 and "\n" not in text else _short(text)  # noqa: PLR2004


def _actions(op: Files) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    own: list[tuple[str, str]] = []
    for number, action in enumerate(op.actions, 1):
        prefix = f"source {number}: " if len(op.actions) > 1 else ""
        match action:
            case Copy():
                own = [("source", action.source), ("destination", action.dest)]
                own += [("--chmod", action.chmod), ("--exclude", " ".join(action.exclude))]
                own += [("--parents", _claim(action.parents)), ("unpacking", action.unpack)]
            case Mkdir():
                own = [("directory", action.path), ("mode", f"{action.mode_bits:04o}")]
            case Write():
                own = [("destination", action.dest), ("--chmod", action.chmod)]
                own += [(f"content of {action.filename or 'file'}", _short(action.content))]
        owner = action.owner
        group = "" if owner is None or owner.group is None else f":{owner.group}"
        own.append(("--chown", "" if owner is None else f"{owner.user}{group}"))
        fields += [(prefix + name, value) for name, value in own]
    return fields


def _claim(is_so: bool) -> str:  # noqa: FBT001 - the value itself
    return "true" if is_so else "false"


def _short(text: str) -> str:
    return hex_of(Digest(digest_of(text.encode("utf-8", "surrogateescape"))))[:12]
