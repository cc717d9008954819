"""`builder events`: what happens to containers, volumes and networks."""

import time

from builder.cli.options import Arguments, Command, multiple, value
from builder.cli.session import Session

_PAUSE_S = 0.05

COMMAND = Command(
    name="events",
    summary="Show what happens, as it happens.",
    options=(
        multiple("-f", "--filter", "KEY=VALUE", help="container, event, type, image, label, …"),
        value("--format", "FORMAT", help="`json`, or a Go template"),
        value("--since", "TIME", help="also what happened since then"),
        value("--until", "TIME", help="end at this time"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print one line for each; without --until go on until interrupted."""
    from builder.cli.values import filters
    from builder.containers.happenings import Window, follow, matcher
    from builder.containers.listing import moment_of

    since, until = arguments.value("since"), arguments.value("until")
    window = Window(moment_of(since) if since else time.time(), moment_of(until) if until else None)
    is_wanted = matcher(filters(arguments.values("filter")))
    with session.engine() as engine:
        journal = engine.containers.place.journal
        for happening in follow(journal, window, session.token.check, _PAUSE_S):
            if is_wanted(happening):
                session.print(_shown(happening, arguments.value("format")))
    return 0


def _shown(happening: object, template: str | None) -> str:
    from builder.cli.templates import Template
    from builder.containers.happenings import described, line_of
    from builder.containers.journal import Happening

    assert isinstance(happening, Happening)  # noqa: S101 - imported lazily
    if not template:
        return line_of(happening)
    text = "{{json .}}" if template == "json" else template
    return Template(text).render(described(happening))
