"""`builder attach`: connect to a container that runs."""

import os

from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.session import Session
from builder.containers.request import Attachment

COMMAND = Command(
    name="attach",
    summary="Connect to the streams of a running container.",
    options=(
        value("--detach-keys", "KEYS", help="the keys that detach, such as ctrl-p,ctrl-q"),
        flag("--no-stdin", help="do not connect standard input"),
        flag("--sig-proxy", help="send signals on to the container", is_on=True),
    ),
    arguments=(Argument("CONTAINER"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Stay connected until the container ends; its status, or 0 after detaching."""
    name = arguments.words[0]
    with session.engine() as engine:
        request = engine.containers.record(name).container.request
        is_reading = request.is_interactive and not arguments.flag("no-stdin")
        return engine.containers.attach(
            name,
            Attachment(
                stdin=0 if is_reading else None,
                stdout=session.stdout,
                stderr=session.stderr,
                is_tty=request.is_tty and os.isatty(0 if is_reading else session.stdout),
                detach_keys=arguments.value("detach-keys") or "",
                is_sig_proxy=arguments.flag("sig-proxy"),
            ),
        )
