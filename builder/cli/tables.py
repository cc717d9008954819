"""Lists and objects as people and scripts read them: aligned tables, `--format`, sizes, ages."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from builder.cli.options import Arguments
from builder.cli.session import Session
from builder.text import visible
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.engine.api import Engine

ID_LENGTH = 12
_GAP = "   "
_DAY_H = 24
_WEEK_H = 7 * _DAY_H
_MONTH_H = 30 * _DAY_H
_YEAR_H = 365 * _DAY_H


class Column(NamedTuple):
    """A column of the default table: its heading, and the row's key that fills it."""

    heading: str
    key: str


def show(
    session: Session,
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[Column],
    *,
    format: str | None = None,  # noqa: A002 - the option's name
    is_quiet: bool = False,
    quiet_key: str = "ID",
) -> None:
    """Print rows: the default table, a `--format`, or with `-q` one key alone."""
    if is_quiet:
        lines = [visible(str(row[quiet_key])) for row in rows]
    elif format and format != "table":
        from builder.cli.templates import listing

        headers = _headers(rows) | {column.key: column.heading for column in columns}
        shown = rows if format == "json" else [_shown(row) for row in rows]
        text = listing(format, headers, shown).rstrip("\n")
        lines = [text] if text else []
    else:
        cells = [[visible(str(row.get(column.key, ""))) for column in columns] for row in rows]
        lines = aligned([[column.heading for column in columns], *cells])
    if lines:
        session.print("\n".join(lines))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Pad cells to the width of their columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def inspect(
    session: Session,
    objects: Sequence[Mapping[str, object]],
    *,
    format: str | None = None,  # noqa: A002 - the option's name
) -> None:
    """Print objects as one JSON array, or each by a template."""
    if format and format != "json":
        from builder.cli.templates import Template

        template = Template(format)
        for shown in objects:
            session.print(template.render(shown))
        return
    import json

    indent = None if format == "json" else 4
    session.print(json.dumps(list(objects), indent=indent, ensure_ascii=False))


def inspect_each(
    arguments: Arguments,
    session: Session,
    describe: "Callable[[Engine, str], Mapping[str, object]]",
) -> int:
    """Print all that is known of each name given; complain about those that do not exist.

    Returns the exit status.
    """
    found = []
    with session.engine() as engine:
        for name in arguments.words:
            with session.going_on():
                found.append(describe(engine, name))
    inspect(session, found, format=arguments.value("format"))
    return session.status


def human_size(size_bytes: float, precision: int = 3) -> str:
    """Write a size in powers of 1000 with few digits, `1.23kB`, as docker does."""
    size, unit = float(size_bytes), 0
    units = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
    while size >= 1000 and unit < len(units) - 1:  # noqa: PLR2004 - powers of 1000
        size /= 1000
        unit += 1
    return f"{size:.{precision}g}{units[unit]}"


def human_age(seconds: float) -> str:
    """Write a duration in one unit, `3 hours`, in docker's words and at docker's limits."""
    minutes, hours = int(seconds // 60), round(seconds / 3600)
    if seconds < 60:  # noqa: PLR2004 - seconds of a minute
        return _numbered(int(seconds), "second") if seconds >= 1 else "Less than a second"
    if minutes < 60:  # noqa: PLR2004 - minutes of an hour
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 2 * _DAY_H:
        return "About an hour" if hours <= 1 else f"{hours} hours"
    for unit_h, limit_h, word in (
        (_DAY_H, 2 * _WEEK_H, "day"),
        (_WEEK_H, 2 * _MONTH_H, "week"),
        (_MONTH_H, 2 * _YEAR_H, "month"),
    ):
        if hours < limit_h:
            return _numbered(hours // unit_h, word)
    return _numbered(int(seconds // 3600) // _YEAR_H, "year")


def _numbered(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def short_id(digest: str) -> str:
    """Shorten an ID or digest to the twelve digits people read."""
    return digest.rpartition(":")[2][:ID_LENGTH]


def _headers(rows: Sequence[Mapping[str, object]]) -> dict[str, str]:
    return {key: key.upper() for row in rows[:1] for key in row}


def _shown(row: Mapping[str, object]) -> dict[str, object]:
    return {key: visible(value) if isinstance(value, str) else value for key, value in row.items()}
