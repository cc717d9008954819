"""`builder exec`: one more process in a container that runs."""

import os

from builder.cli.options import Argument, Arguments, Command, flag, multiple, value
from builder.cli.session import Session
from builder.containers.request import Attachment, EnvironmentWord
from builder.errors import BuilderError, UsageError, render

COMMAND = Command(
    name="exec",
    summary="Run one more process in a running container.",
    options=(
        flag("-d", "--detach", help="leave it running in the background"),
        value("--detach-keys", "KEYS", help="the keys that detach, such as ctrl-p,ctrl-q"),
        multiple("-e", "--env", "NAME[=VALUE]", help="set an environment variable"),
        multiple("--env-file", "FILE", help="read environment variables from FILE"),
        flag("-i", "--interactive", help="keep standard input open"),
        flag("--privileged", help="give it all capabilities"),
        flag("-t", "--tty", help="give it a terminal"),
        value("-u", "--user", "USER[:GROUP]", help="run as this user"),
        value("-w", "--workdir", "DIR", help="start in this directory"),
    ),
    arguments=(Argument("CONTAINER"), Argument("COMMAND", maximum=None)),
    is_interspersed=False,
)


def run(arguments: Arguments, session: Session) -> int:
    """Run it; the exit status is its own, 126 and 127 if it cannot be started."""
    from builder.containers.exec_spec import ExecRequest
    from builder.containers.joining import join_container

    name, *argv = arguments.words
    is_tty, is_interactive = arguments.flag("tty"), arguments.flag("interactive")
    request = ExecRequest(
        tuple(argv),
        tuple(_environment(arguments, session)),
        arguments.value("user") or "",
        arguments.value("workdir") or "",
        is_tty=is_tty,
        is_interactive=is_interactive,
        is_privileged=arguments.flag("privileged"),
    )
    join_container(session.settings.root, name)
    with session.engine() as engine:
        if arguments.flag("detach"):
            engine.containers.execute_detached(name, request)
            return 0
        if is_tty and is_interactive and not os.isatty(0):
            error = BuilderError(
                "the input device is not a TTY", fix="leave out -t, or run it in a terminal"
            )
            session.note(render(error))
            return error.exit_status
        attachment = Attachment(
            stdin=0 if is_interactive else None,
            stdout=session.stdout,
            stderr=session.stderr,
            is_tty=is_tty,
            detach_keys=arguments.value("detach-keys") or "",
        )
        return engine.containers.execute(name, request, attachment)


def _environment(arguments: Arguments, session: Session) -> list[EnvironmentWord]:
    from builder.cli.run_request import read_lines

    words = [line for path in arguments.values("env-file") for line in read_lines(path)]
    found = []
    for text in (*words, *arguments.values("env")):
        name, equals, value_ = text.partition("=")
        if not name:
            raise UsageError(f"-e takes NAME or NAME=VALUE, not {text!r}")
        found.append(EnvironmentWord(name, value_ if equals else session.environ.get(name)))
    return found
