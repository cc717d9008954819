"""`builder history`: how an image came to be."""

import time

from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.session import Session

COMMAND = Command(
    name="history",
    summary="Show how an image came to be, the newest step first.",
    arguments=(Argument("IMAGE"),),
    options=(
        value("--format", "FORMAT", help="`json`, `table TEMPLATE`, or a Go template"),
        flag("-H", "--human", help="print sizes and dates for people", is_on=True),
        flag("--no-trunc", help="show texts in full"),
        flag("-q", "--quiet", help="show IDs only"),
    ),
)

_SHOWN_CHARACTERS = 45


def run(arguments: Arguments, session: Session) -> int:
    """Print one line for each step."""
    from builder.cli.tables import Column, show

    with session.engine() as engine:
        items = engine.history(arguments.words[0])
    is_short = not arguments.flag("no-trunc")
    is_human = arguments.flag("human")
    show(
        session,
        [_row(item, is_short=is_short, is_human=is_human) for item in items],
        (
            Column("IMAGE", "ID"),
            Column("CREATED", "CreatedSince" if is_human else "CreatedAt"),
            Column("CREATED BY", "CreatedBy"),
            Column("SIZE", "Size"),
            Column("COMMENT", "Comment"),
        ),
        format=arguments.value("format"),
        is_quiet=arguments.flag("quiet"),
    )
    return 0


def _row(item: dict[str, object], *, is_short: bool, is_human: bool) -> dict[str, object]:
    from builder.cli.tables import human_age, human_size, short_id
    from builder.wire import MISSING, rfc3339

    identity, created_by = str(item["Id"]), str(item["CreatedBy"]).replace("\t", " ")
    created_s, size_bytes = item["Created"], item["Size"]
    if not isinstance(created_s, int) or not isinstance(size_bytes, int):
        raise TypeError("times and sizes are integers")
    is_cut = is_short and len(created_by) > _SHOWN_CHARACTERS
    return {
        "ID": short_id(identity) if is_short and identity != MISSING else identity,
        "CreatedSince": f"{human_age(max(0, time.time() - created_s))} ago" if created_s else "N/A",
        "CreatedAt": rfc3339(created_s) if created_s else "",
        "CreatedBy": f"{created_by[: _SHOWN_CHARACTERS - 1]}…" if is_cut else created_by,
        "Size": human_size(size_bytes) if is_human else str(size_bytes),
        "Comment": item["Comment"],
    }
