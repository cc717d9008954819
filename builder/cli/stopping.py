"""What `stop` and `restart` share: their options, and a turn for each container."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from builder.cli.options import Argument, Arguments, value
from builder.cli.session import Session

if TYPE_CHECKING:
    from builder.containers.service import Containers

OPTIONS = (
    value("-t", "--time", "--timeout", "SECONDS", help="how long to wait before killing; -1"),
    value("-s", "--signal", "SIGNAL", help="the signal to send first"),
)
ARGUMENTS = (Argument("CONTAINER", maximum=None),)

Act = Callable[["Containers", str, float | None, str], None]
"""Called with the name of a container, the seconds before it is killed, and the signal."""


def each(arguments: Arguments, session: Session, act: Act) -> int:
    """Do it to each container, and print the name it was given by; the exit status."""
    from builder.cli.values import integer

    text = arguments.value("time")
    timeout_s = None if text is None else float(integer(text, "--time"))
    with session.engine() as engine:
        for name in arguments.words:
            with session.going_on():
                act(engine.containers, name, timeout_s, arguments.value("signal") or "")
                session.print(name)
    return min(session.status, 1)
