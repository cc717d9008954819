"""The value of `--chmod`: octal digits, or chmod(1)'s symbolic clauses."""

from builder.errors import UsageError
from builder.values import NamedTuple

_MAX_MODE = 0o7777
_UMASK = 0o022
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": 0o7777}
_READ, _WRITE, _EXECUTE = 0o444, 0o222, 0o111
_SET_IDS, _STICKY = 0o6000, 0o1000
_COPIED_SHIFT = {"u": 6, "g": 3, "o": 0}


class _Clause(NamedTuple):
    who: int
    operator: str
    permissions: str
    is_masked: bool


class Mode(NamedTuple):
    """A parsed value: a whole mode, or clauses that change one."""

    octal: int | None
    clauses: tuple[_Clause, ...] = ()

    def applied(self, mode_bits: int, *, is_directory: bool) -> int:
        """Give the mode that a file with this one gets."""
        if self.octal is not None:
            return self.octal
        for clause in self.clauses:
            mode_bits = _changed(mode_bits, clause, is_directory=is_directory)
        return mode_bits

    @property
    def of_parents(self) -> int:
        """The mode of directories that are made on the way: only an octal one applies to them."""
        return 0o755 if self.octal is None else self.octal


def parse_mode(text: str) -> Mode | None:
    """Parse `--chmod`; None for no value. Raises UsageError for a malformed one."""
    if not text:
        return None
    if text[0].isdigit():
        if all(digit in "01234567" for digit in text) and int(text, 8) <= _MAX_MODE:
            return Mode(int(text, 8))
        raise _malformed(text)
    return Mode(None, tuple(clause for part in text.split(",") for clause in _clauses(part, text)))


def _clauses(part: str, text: str) -> list[_Clause]:
    """Parse who, then any number of an operator and permissions."""
    rest = part.lstrip("ugoa")
    who = 0
    for letter in part[: len(part) - len(rest)]:
        who |= _WHO[letter]
    clauses = []
    while rest:
        operator, rest = rest[0], rest[1:]
        after = rest.lstrip("rwxXstugo")
        permissions, rest = rest[: len(rest) - len(after)], after
        is_copy = any(letter in _COPIED_SHIFT for letter in permissions)
        if operator not in "+-=" or (is_copy and len(permissions) > 1):
            raise _malformed(text)
        clauses.append(_Clause(who or _WHO["a"], operator, permissions, is_masked=not who))
    if not clauses:
        raise _malformed(text)
    return clauses


def _changed(mode_bits: int, clause: _Clause, *, is_directory: bool) -> int:
    bits = 0
    for letter in clause.permissions:
        bits |= _bits(letter, mode_bits, is_directory=is_directory)
    bits &= clause.who
    if clause.is_masked:
        bits &= ~_UMASK
    match clause.operator:
        case "+":
            return mode_bits | bits
        case "-":
            return mode_bits & ~bits
        case _:
            kept = _SET_IDS if is_directory else 0  # as GNU chmod: a directory keeps its set-ids
            return (mode_bits & ~(clause.who & ~kept)) | bits


def _bits(letter: str, mode_bits: int, *, is_directory: bool) -> int:
    if letter in _COPIED_SHIFT:
        copied = mode_bits >> _COPIED_SHIFT[letter] & 0o7
        return copied * 0o111
    if letter == "X":
        return _EXECUTE if is_directory or mode_bits & _EXECUTE else 0
    return {"r": _READ, "w": _WRITE, "x": _EXECUTE, "s": _SET_IDS, "t": _STICKY}[letter]


def _malformed(text: str) -> UsageError:
    return UsageError(
        f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777",
        fix="write an octal mode such as 0755, or a symbolic one such as u=rwX,go=rX",
    )
