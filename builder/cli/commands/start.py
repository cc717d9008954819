"""`builder start`: run containers that were made before."""

import os

from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.session import Session
from builder.containers.request import Attachment
from builder.errors import UsageError

COMMAND = Command(
    name="start",
    summary="Start containers.",
    options=(
        flag("-a", "--attach", help="connect to its output, and end with its status"),
        flag("-i", "--interactive", help="connect to its input"),
        value("--detach-keys", "KEYS", help="the keys that detach, such as ctrl-p,ctrl-q"),
        flag("--sig-proxy", help="send signals on to the container", is_on=True, is_hidden=True),
    ),
    arguments=(Argument("CONTAINER", maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Start each; with -a or -i one alone, whose status is ours."""
    is_attached = arguments.flag("attach") or arguments.flag("interactive")
    if is_attached and len(arguments.words) > 1:
        raise UsageError("only one container can be started and attached to at once")
    with session.engine() as engine:
        if is_attached:
            name = arguments.words[0]
            request = engine.containers.record(name).container.request
            is_reading = arguments.flag("interactive") and request.is_interactive
            return engine.containers.start(
                name,
                Attachment(
                    stdin=0 if is_reading else None,
                    stdout=session.stdout,
                    stderr=session.stderr,
                    is_tty=request.is_tty and os.isatty(session.stdout),
                    detach_keys=arguments.value("detach-keys") or "",
                    is_sig_proxy=arguments.flag("sig-proxy"),
                ),
            )
        for name in arguments.words:
            with session.going_on():
                engine.containers.start(name)
                session.print(name)
    return min(session.status, 1)
