"""`builder plan`: what a build would do and why, what it would fetch, how long it would take."""

from typing import TYPE_CHECKING

from builder.cli.commands.build import COMMAND as BUILD
from builder.cli.options import Arguments, Command, value
from builder.cli.session import Session

if TYPE_CHECKING:
    from builder.engine.plan import Plan

COMMAND = Command(
    name="plan",
    summary="Say what a build would do and why; execute nothing.",
    arguments=BUILD.arguments,
    options=(
        value("--format", "FORMAT", help="text or json", choices=("text", "json")),
        *BUILD.options,
    ),
)

_WORDS = {"hit": "HIT", "run": "RUN", "perhaps": "RUN?"}
_SECOND_MS = 1000


def run(arguments: Arguments, session: Session) -> int:
    """Look, and print."""
    from builder.cli.build_request import build_request

    request = build_request(arguments, session)
    with session.engine() as engine:
        found = engine.plan(request)
    if arguments.value("format") == "json":
        session.print(_as_json(found))
    else:
        _print(found, session)
    return 0


def _print(found: "Plan", session: Session) -> None:
    from builder.cli.tables import human_size
    from builder.text import visible

    for step in found.steps:
        time = "" if step.verdict == "hit" else f"  ({_time(step.duration_ms)})"
        session.print(f"{_WORDS[step.verdict]:4}  {visible(step.name)}{time}")
        for reason in step.reasons:
            session.print(f"        {reason}")
    for fetch in found.fetches:
        size = "" if fetch.size_bytes is None else f"  ({human_size(fetch.size_bytes)})"
        session.print(f"fetch {visible(fetch.what)}{size}")
    running = sum(step.verdict != "hit" for step in found.steps)
    total = f"{running} of {len(found.steps)} steps would run"
    if running:
        total += f", in about {_time(found.expected_ms)}"
    if found.unknown:
        total += f" and what {found.unknown} of them take that never ran here"
    session.print(total)


def _time(duration_ms: int | None) -> str:
    if duration_ms is None:
        return "never timed"
    if duration_ms < _SECOND_MS:
        return f"{duration_ms} ms"
    return f"{duration_ms / _SECOND_MS:.1f} s"


def _as_json(found: "Plan") -> str:
    import json

    facts = {
        "steps": [step._asdict() for step in found.steps],
        "fetches": [fetch._asdict() for fetch in found.fetches],
        "expected_ms": found.expected_ms,
        "never_timed": found.unknown,
    }
    return json.dumps(facts, indent=2)
