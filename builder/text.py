"""Text that came from elsewhere: made safe to show, split at commas, its misspellings guessed."""

from collections.abc import Iterable

MAX_EDIT_DISTANCE = 2
MAX_SUGGESTION_LENGTH = 64


def visible(text: str) -> str:
    r"""Show control characters as `\x1b`, so that no text can steer the terminal.

    Covers C0 but tab, DEL, C1, the line separators, direction overrides and lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(character) for character in text)


def visible_lines(text: str) -> str:
    """Like `visible`, but keep line feeds: for text of several lines."""
    return "\n".join(visible(line) for line in text.split("\n"))


def _escaped(character: str) -> str:
    if character.isprintable() or character == "\t":
        return character
    code = ord(character)
    if code <= 0xFF:  # noqa: PLR2004 - the two-digit form ends here
        return f"\\x{code:02x}"
    if character.isspace():
        return " "
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004


class InvalidFields(ValueError):
    """A line is no list of comma-separated fields; `fix` says what would be."""

    def __init__(self, what: str, fix: str) -> None:
        """Keep the remedy beside the fact."""
        super().__init__(what)
        self.fix = fix


def csv_fields(text: str) -> list[str]:
    """Split a line at commas; a field in double quotes may hold them.

    Raises InvalidFields.

    Spec: RFC 4180.
    """
    fields: list[str] = []
    rest = text
    while True:
        field, comma, rest = _quoted_field(rest) if rest.startswith('"') else rest.partition(",")
        if '"' in field and not comma.startswith('"'):
            raise InvalidFields(f'bare " in the field {field}', "quote the whole field")
        fields.append(field)
        if not comma.endswith(","):
            return fields


def _quoted_field(text: str) -> tuple[str, str, str]:
    pieces: list[str] = []
    rest = text[1:]
    while True:
        piece, quote, rest = rest.partition('"')
        pieces.append(piece)
        if not quote:
            raise InvalidFields(f"the quoted field {text} does not end", 'add the closing "')
        if not rest.startswith('"'):
            break
        pieces.append('"')
        rest = rest[1:]
    if rest and not rest.startswith(","):
        raise InvalidFields(f'text follows the closing " in {text}', "put a comma between fields")
    return "".join(pieces), f'"{rest[:1]}', rest[1:]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Find the known word closest to a misspelt one, ignoring case; None beyond two edits."""
    best, best_distance = None, MAX_EDIT_DISTANCE + 1
    if len(word) > MAX_SUGGESTION_LENGTH:
        return None
    for candidate in known:
        if abs(len(word) - len(candidate)) >= best_distance:
            continue  # so many edits at least
        distance = edit_distance(word.lower(), candidate.lower())
        if distance < best_distance:
            best, best_distance = candidate, distance
    return best


def edit_distance(left: str, right: str) -> int:
    """Count the insertions, deletions and substitutions between two words (Levenshtein)."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]
