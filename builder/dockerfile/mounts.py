"""RUN --mount: the options of one mount, read from comma-separated `key=value` fields.

Values are expanded, `from` is not; what a key means depends on the type that was read before it.
"""

from collections.abc import Callable, Iterator
from typing import Literal, TypeVar, get_args

from builder.text import InvalidFields, csv_fields, nearest
from builder.values import NamedTuple

MountType = Literal["bind", "cache", "tmpfs", "secret", "ssh"]
Sharing = Literal["shared", "private", "locked"]

TYPES: tuple[MountType, ...] = get_args(MountType)
SHARINGS: tuple[Sharing, ...] = get_args(Sharing)
_Choice = TypeVar("_Choice", bound=str)
_KEYS = (
    "type", "from", "source", "target", "readonly", "id", "sharing", "required", "mode", "uid",
    "gid", "src", "dst", "destination", "ro", "rw", "readwrite", "size", "env",
)  # fmt: skip
_OWNED = frozenset({"secret", "ssh", "cache"})
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_ID_LIMIT = 1 << 32
_UNITS = "bkmgtp"


class MountOptions(NamedTuple):
    """One `--mount` as written; None where nothing was said."""

    type: MountType = "bind"
    source: str = ""
    from_name: str = ""
    target: str = ""
    is_read_only: bool | None = None
    id: str = ""
    sharing: Sharing | None = None
    is_required: bool = False
    mode_bits: int | None = None
    uid: int | None = None
    gid: int | None = None
    size_bytes: int = 0
    env: str | None = None


class InvalidMount(ValueError):
    """The options of a mount make no sense; `fix` says what would."""

    def __init__(self, what: str, fix: str, word: str = "") -> None:
        """Keep the remedy beside the fact, and the field that is to blame if it is one."""
        super().__init__(what)
        self.fix = fix
        self.word = word


def mount_options(text: str, expand: Callable[[str], str]) -> MountOptions:
    """Read one mount; raise InvalidMount, or what `expand` raises."""
    options = MountOptions()
    for field in _fields(text):
        name, equals, value = field.partition("=")
        name = name.lower()
        try:
            if not equals:
                options = _with_bare(options, name, field)
            else:
                options = _with_value(options, name, expand(value), field)
        except InvalidMount as error:
            error.word = field
            raise
    _check(options)
    return options


def mount_source(text: str) -> str:
    """Find the stage or image that a mount is from, without expanding anything; empty if none.

    Raises InvalidMount.
    """
    found = ""
    for field in _fields(text):
        name, equals, value = field.partition("=")
        if equals and name.lower() == "from":
            if "$" in value[:-1]:
                raise InvalidMount(
                    "'from' doesn't support variable expansion, define alias stage instead",
                    "write FROM $VARIABLE AS name, and from=name here",
                    field,
                )
            found = value
    return found


def _fields(text: str) -> list[str]:
    try:
        return csv_fields(text)
    except InvalidFields as error:
        raise InvalidMount(str(error), error.fix) from None


def _with_bare(options: MountOptions, name: str, field: str) -> MountOptions:
    match name:
        case "readonly" | "ro":
            return options._replace(is_read_only=True)
        case "readwrite" | "rw":
            return options._replace(is_read_only=False)
        case "required":
            _expect_type(options, name, "secret", "ssh")
            return options._replace(is_required=True)
        case _:
            raise InvalidMount(
                f"invalid field '{field}' must be a key=value pair", _did_you_mean(name, _KEYS)
            )


def _with_value(  # noqa: PLR0911 - one case for each key
    options: MountOptions, name: str, value: str, field: str
) -> MountOptions:
    match name:
        case "type":
            return options._replace(type=_choice("mount type", value, TYPES))
        case "from":
            return options._replace(from_name=value)
        case "source" | "src":
            return options._replace(source=value)
        case "target" | "dst" | "destination":
            return options._replace(target=value)
        case "id":
            return options._replace(id=value)
        case "sharing":
            return options._replace(sharing=_choice("sharing value", value, SHARINGS))
        case _:
            return _with_typed_value(options, name, value, field)


def _with_typed_value(  # noqa: PLR0911 - one case for each key
    options: MountOptions, name: str, value: str, field: str
) -> MountOptions:
    match name:
        case "readonly" | "ro":
            return options._replace(is_read_only=_boolean(name, value))
        case "readwrite" | "rw":
            return options._replace(is_read_only=not _boolean(name, value))
        case "required":
            _expect_type(options, name, "secret", "ssh")
            return options._replace(is_required=_boolean(name, value))
        case "size":
            _expect_type(options, name, "tmpfs")
            return options._replace(size_bytes=_size(name, value))
        case "mode":
            return options._replace(mode_bits=_number(name, value, 8))
        case "uid":
            return options._replace(uid=_number(name, value, 10))
        case "gid":
            return options._replace(gid=_number(name, value, 10))
        case "env":
            return options._replace(env=value)
        case _:
            raise InvalidMount(f"unexpected key '{name}' in '{field}'", _did_you_mean(name, _KEYS))


def _check(options: MountOptions) -> None:
    for what, fix in _problems(options):
        raise InvalidMount(what, fix)


def _problems(options: MountOptions) -> Iterator[tuple[str, str]]:
    kind = options.type
    if kind not in _OWNED:
        owned = {"mode": options.mode_bits, "uid": options.uid, "gid": options.gid}
        for name, value in owned.items():
            if value is not None:
                yield f'{name} not allowed for "{kind}" type mounts', _take_off(name, "cache")
    if kind == "secret" and options.from_name:
        yield "secret mount should not have a from", _take_off("from", "bind")
    if kind == "secret" and not (options.source or options.target or options.id):
        yield "invalid secret mount. one of source, target required", "write id=NAME"
    if kind == "secret" and options.source and options.id:
        yield "both source and id can't be set", "write id= only"
    if kind == "ssh" and options.source:
        yield "ssh does not support source", "write id=NAME for the agent"
    if options.sharing is not None and kind != "cache":
        yield f"invalid cache sharing set for {kind} mount", _take_off("sharing", "cache")
    if options.env is not None and kind != "secret":
        yield f"unexpected key 'env' for mount type '{kind}'", _take_off("env", "secret")


def _take_off(name: str, kind: MountType) -> str:
    return f"take {name}= off: it belongs to type={kind}"


def _expect_type(options: MountOptions, name: str, *types: MountType) -> None:
    if options.type not in types:
        raise InvalidMount(
            f"unexpected key '{name}' for mount type '{options.type}'",
            f"it belongs to type={types[0]}, which stands before it",
        )


def _choice(what: str, value: str, known: tuple[_Choice, ...]) -> _Choice:
    for choice in known:
        if choice == value.lower():
            return choice
    raise InvalidMount(f'unsupported {what} "{value}"', _did_you_mean(value, known))


def _boolean(name: str, value: str) -> bool:
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise InvalidMount(f"invalid value for {name}: {value}", "write true or false")


def _number(name: str, value: str, base: int) -> int:
    try:
        number = int(value, base) if value.isascii() and value.isdigit() else -1
    except ValueError:
        number = -1
    if not 0 <= number < _ID_LIMIT:
        raise InvalidMount(f"invalid value {value} for {name}", f"write a number below {_ID_LIMIT}")
    return number


def _size(name: str, value: str) -> int:
    text = value.lower().removesuffix("ib").removesuffix("b")
    unit = text[-1:] if text[-1:] in _UNITS[1:] else ""
    number = text.removesuffix(unit).strip()
    whole, _, fraction = number.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit() and whole):
        raise InvalidMount(f"invalid value for {name}: {value}", "write it like 64m")
    scale: int = 10 ** len(fraction)
    return (int(digits) << 10 * _UNITS.index(unit or "b")) // scale


def _did_you_mean(word: str, known: tuple[str, ...]) -> str:
    found = nearest(word, known)
    return f"did you mean {found}?" if found else f"write one of {', '.join(known)}"
