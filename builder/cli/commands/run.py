"""`builder run`: a container made from an image, in the foreground or detached."""

import os

from builder.cli.options import Argument, Arguments, Command
from builder.cli.run_options import RUN_OPTIONS
from builder.cli.session import Session
from builder.containers.request import Attachment, ContainerRequest
from builder.errors import EXIT_ENGINE, BuilderError, UsageError, render
from builder.events import Sink

COMMAND = Command(
    name="run",
    summary="Make a container from an image and run it.",
    options=RUN_OPTIONS,
    arguments=(Argument("IMAGE"), Argument("COMMAND", minimum=0, maximum=None)),
    is_interspersed=False,
    failure_status=EXIT_ENGINE,
    usage_status=EXIT_ENGINE,
)


def run(arguments: Arguments, session: Session) -> int:
    """Run the container; the exit status is its own, or 125 and above for ours."""
    from builder.cli.run_request import container_request

    request = container_request(arguments, session)
    if arguments.flag("detach"):
        return _detached(arguments, session, request)
    attachment = _attachment(arguments, session, request)
    if request.is_tty and attachment.stdin is not None and not os.isatty(attachment.stdin):
        error = BuilderError(
            "the input device is not a TTY", fix="leave out -t, or run it in a terminal"
        )
        session.note(render(error))
        return error.exit_status  # 1, as docker's client: no engine was asked
    from builder.cli.repetition import Repetition
    from builder.containers import quick

    root, repetition = session.settings.root, Repetition(session, arguments)
    status = quick.run(root, request, attachment, session.warn, keep=repetition.keeper())
    if status is not None:
        return status
    with session.engine(_display(arguments, session, request)) as engine:
        return engine.run(request, attachment)


def _detached(arguments: Arguments, session: Session, request: ContainerRequest) -> int:
    if arguments.values("attach"):
        raise UsageError("-a and -d exclude each other")
    with session.engine(_display(arguments, session, request)) as engine:
        session.print(engine.run_detached(request))
    return 0


def _display(arguments: Arguments, session: Session, request: ContainerRequest) -> Sink:
    from builder.cli.pull_display import pull_display

    is_quiet = arguments.flag("quiet")
    return pull_display(session, request.image, is_quiet=is_quiet, policy=request.pull)


def _attachment(arguments: Arguments, session: Session, request: ContainerRequest) -> Attachment:
    """Choose the streams that are connected: as named by -a, else output, and input with -i."""
    named = request.attached
    is_reading = "stdin" in named or (request.is_interactive and not named)
    return Attachment(
        stdin=0 if is_reading else None,
        stdout=session.stdout,
        stderr=session.stderr,
        is_tty=request.is_tty,
        detach_keys=arguments.value("detach-keys") or "",
        is_sig_proxy=arguments.flag("sig-proxy"),
    )
