"""`builder logs`: what a container wrote."""

import time
from typing import TYPE_CHECKING

from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.session import Session, write_all
from builder.errors import NotFound

if TYPE_CHECKING:
    from builder.containers.logs import LogFilter, LogRecord
    from builder.engine.api import Engine

_PAUSE_S = 0.05

COMMAND = Command(
    name="logs",
    summary="Show what a container wrote.",
    options=(
        flag("--details", help="for docker's command lines", is_hidden=True),
        flag("-f", "--follow", help="go on until the container ends"),
        value("--since", "TIME", help="from this time on: RFC 3339, Unix seconds, or 10m ago"),
        value("-n", "--tail", "NUMBER", help="the last lines only"),
        flag("-t", "--timestamps", help="show when each line came"),
        value("--until", "TIME", help="up to this time"),
    ),
    arguments=(Argument("CONTAINER"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Write both streams to where they belong."""
    from builder.containers import logs

    chosen = logs.LogFilter(
        _moment(arguments.value("since")),
        _moment(arguments.value("until")),
        _tail(arguments.value("tail")),
    )
    has_times = arguments.flag("timestamps")
    with session.engine() as engine:
        container = engine.containers.record(arguments.words[0]).container
        path = engine.containers.place.records.path(container.id, logs.FILE)
        offset = logs.size_bytes(path)
        for record in logs.read(path, chosen):
            _write(session, record, has_times=has_times)
        if arguments.flag("follow"):
            follower = logs.Follower(path, offset=offset)
            _follow(session, engine, container.id, follower, chosen, has_times=has_times)
    return 0


def _moment(text: str | None) -> float:
    from builder.containers.listing import moment_of

    return moment_of(text) if text else 0.0


def _tail(text: str | None) -> int:
    from builder.cli.values import integer

    return -1 if text in {None, "all"} else max(-1, integer(text or "", "--tail"))


def _follow(
    session: Session,
    engine: "Engine",
    container_id: str,
    follower: "object",
    chosen: "LogFilter",
    *,
    has_times: bool,
) -> None:
    from builder.containers.logs import Follower, is_chosen

    assert isinstance(follower, Follower)  # noqa: S101 - imported lazily
    while True:
        is_alive = _is_alive(engine, container_id)
        for record in follower.records():
            if is_chosen(record, chosen):
                _write(session, record, has_times=has_times)
        if not is_alive or (chosen.until_s and time.time() > chosen.until_s):
            return
        session.token.check()
        time.sleep(_PAUSE_S)


def _is_alive(engine: "Engine", container_id: str) -> bool:
    try:
        return engine.containers.record(container_id).state.is_alive
    except NotFound:
        return False


def _write(session: Session, record: "LogRecord", *, has_times: bool) -> None:
    text = f"{record.time} {record.log}" if has_times else record.log
    content = text.encode("utf-8", "surrogateescape")
    if record.stream == "stderr":
        write_all(session.stderr, content)
    else:
        session.write(content)
