"""`builder completion`: the code that makes a shell complete builder's commands."""

from builder.cli.options import Argument, Arguments, Command
from builder.cli.session import Session
from builder.errors import UsageError

SHELLS = ("bash", "zsh", "fish")

COMMAND = Command(
    name="completion",
    summary='Print code for a shell: eval "$(builder completion bash)".',
    arguments=(Argument("bash|zsh|fish"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print the code of one shell."""
    from builder.cli.clicked import completion_source

    [shell] = arguments.words
    if shell not in SHELLS:
        raise UsageError(f"there is no completion for {shell!r}", fix=f"use {', '.join(SHELLS)}")
    session.print(completion_source(shell))
    return 0
