"""Click's part: help, errors with suggestions, shell completion; made from the same tables.

Imported only when something has to be explained, because click costs more than a whole build that
finds everything in the cache.
"""

from collections.abc import Sequence

import click
from click.shell_completion import get_completion_class

from builder.cli import argv, groups
from builder.cli.main import COMPLETION_VARIABLE, PROGRAM
from builder.cli.options import Argument, Command, Option
from builder.cli.session import Session
from builder.errors import UsageError
from builder.text import nearest

HELP_WORDS = frozenset({"--help", "-h"})
HELP_WIDTH = 100
_GROUP_SUMMARIES = {
    "image": "Manage images.",
    "container": "Manage containers.",
    "volume": "Manage volumes.",
    "network": "Manage networks.",
    "system": "Look at the whole, and tidy up.",
    "buildx": "Build, in the words of docker's plug-in.",
    "builder": "Build, and manage the cache.",
    "cache": "Look into the cache of builds, and carry it elsewhere.",
    "manifest": "Put images of several platforms together.",
}


def command(table: Command, module: str = "") -> click.Command:
    """Make click's command of a table."""
    made = click.Command(
        table.name.rpartition(" ")[2] or module,
        params=[
            *(_parameter(option) for option in table.options),
            *(_argument(argument) for argument in table.arguments),
        ],
        help=table.description or table.summary,
        short_help=table.summary,
        hidden=table.is_hidden,
        context_settings={
            "allow_interspersed_args": table.is_interspersed,
            "max_content_width": HELP_WIDTH,
        },
    )
    made.callback = _nothing
    return made


def _nothing(**_values: object) -> None:
    """Do nothing: commands are run by `cli.main`, click only describes them."""


def _parameter(option: Option) -> click.Option:
    names = [*sorted(option.names, key=lambda name: name.startswith("--")), _identifier(option.key)]
    made = click.Option(
        names,
        help=option.help,
        hidden=option.is_hidden,
        is_flag=option.kind == "flag",
        default={"flag": option.is_on, "count": 0}.get(option.kind),
        count=option.kind == "count",
        multiple=option.kind == "multiple",
        type=click.Choice(option.choices) if option.choices else None,
        metavar=None if option.choices else option.metavar or None,
    )
    if option.kind == "optional":
        made.metavar = f"[={option.metavar}]"
    return made


def _argument(argument: Argument) -> click.Argument:
    is_many = argument.maximum is None or argument.maximum > 1
    return click.Argument(
        [_identifier(argument.name)],
        required=argument.minimum > 0,
        nargs=-1 if is_many else 1,
        metavar=argument.name,
        type=click.UNPROCESSED,
    )


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name.lower()).strip("_") or "words"


class Folder(click.Group):
    """A group whose commands are the modules of a table, loaded when asked for."""

    def __init__(self, name: str, modules: dict[str, str], summary: str, **more: object) -> None:
        """Keep the names; nothing is imported yet."""
        super().__init__(name, help=summary, short_help=summary, **more)  # type: ignore[arg-type]
        self._modules = modules

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """List the names whose modules exist, of several for one module the first."""
        first = {module: name for name, module in reversed(self._modules.items())}
        return sorted(name for module, name in first.items() if groups.has_module(module))

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module and make click's command of its table."""
        module = self._modules.get(cmd_name)
        if module is None or not groups.has_module(module):
            return None
        return command(groups.implementation(module).command, module)


class Root(Folder):
    """The program: one-word commands, then the groups."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List commands and groups."""
        return sorted([*super().list_commands(ctx), *groups.GROUPS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command, or make a group."""
        if cmd_name in groups.GROUPS:
            summary = _GROUP_SUMMARIES[cmd_name]
            return Folder(cmd_name, groups.GROUPS[cmd_name], summary)
        return super().get_command(ctx, cmd_name)


def root() -> Root:
    """Make the whole program for click."""
    modules = {module: module for module in groups.top_level()} | groups.ALIASES
    made = Root("builder", modules, PROGRAM.summary)
    made.params.extend(_parameter(option) for option in PROGRAM.options)
    made.context_settings = {"max_content_width": HELP_WIDTH}
    return made


def complete(session: Session) -> int:
    """Answer a shell that asks for completion."""
    shell, _, instruction = session.environ[COMPLETION_VARIABLE].partition("_")
    kind = get_completion_class(shell)
    if kind is None or instruction != "complete":
        return 1
    session.print(kind(root(), {}, "builder", COMPLETION_VARIABLE).complete())
    return 0


def completion_source(shell: str) -> str:
    """Give the code that makes a shell ask for completion; raise UsageError."""
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"there is no completion for {shell!r}")
    return kind(root(), {}, "builder", COMPLETION_VARIABLE).source()


def no_command(session: Session, words: Sequence[str]) -> int:
    """Explain a missing or unknown command: help, or an error with the nearest name."""
    context = click.Context(root(), info_name="builder")
    group: click.Group = root()
    for at, word in enumerate(words):
        found = group.get_command(context, word)
        if isinstance(found, click.Group):
            context, group = click.Context(found, parent=context, info_name=word), found
            continue
        if word in HELP_WORDS or words[at:] == ("help",):
            return _help(session, context)
        return _fail(session, _unknown_command(context, group, word))
    session.note(context.get_help())
    return PROGRAM.usage_status


def explain(session: Session, table: Command, doubt: argv.Doubt) -> int:
    """Print the help that was asked for, or click's error about a doubt."""
    context = _context(table)
    if doubt.reason == "unknown" and doubt.word in HELP_WORDS:
        return _help(session, context)
    _fail(session, _error(context, table, doubt))
    return table.usage_status


def _context(table: Command) -> click.Context:
    """Make the contexts of the words that lead to a command, for its usage line."""
    if table is PROGRAM:
        return click.Context(root(), info_name="builder")
    context = click.Context(root(), info_name="builder")
    *parents, name = table.name.split()
    for word in parents:
        context = click.Context(click.Group(word), parent=context, info_name=word)
    return click.Context(
        command(table), parent=context, info_name=name, max_content_width=HELP_WIDTH
    )


def _error(context: click.Context, table: Command, doubt: argv.Doubt) -> click.UsageError:
    """Say what is wrong in click's words."""
    match doubt.reason:
        case "unknown":
            names = [n for o in table.options if not o.is_hidden for n in o.names if len(n) > 2]  # noqa: PLR2004 - letters are no suggestion
            near = nearest(doubt.word, names)
            return click.NoSuchOption(doubt.word, possibilities=near and [near], ctx=context)
        case "value":
            text = f"Option {doubt.word!r} requires an argument."
            return click.BadOptionUsage(doubt.word, text, ctx=context)
        case "boolean":
            text = f"{doubt.text!r} is neither true nor false."
            return click.BadParameter(text, ctx=context, param_hint=doubt.word)
        case "choice":
            return click.BadParameter(_choices(doubt), ctx=context, param_hint=doubt.word)
        case "few":
            return click.UsageError(f"Missing argument {doubt.word!r}.", ctx=context)
        case _:
            return click.UsageError(f"Got unexpected extra argument ({doubt.word})", ctx=context)


def _choices(doubt: argv.Doubt) -> str:
    known = doubt.option.choices if doubt.option else ()
    near = nearest(doubt.text, known)
    text = f"{doubt.text!r} is not one of {', '.join(map(repr, known))}."
    return f"{text} Did you mean {near!r}?" if near else text


def _unknown_command(context: click.Context, group: click.Group, word: str) -> click.UsageError:
    near = nearest(word, group.list_commands(context))
    text = f"No such {'option' if word.startswith('-') else 'command'} {word!r}."
    return click.UsageError(f"{text} Did you mean {near!r}?" if near else text, ctx=context)


def _help(session: Session, context: click.Context) -> int:
    session.print(context.get_help())
    return 0


def _fail(session: Session, error: click.UsageError) -> int:
    """Show an error with the usage line it belongs to."""
    if error.ctx is not None:
        session.note(error.ctx.get_usage())
        session.note(f"Try '{error.ctx.command_path} --help' for help.\n")
    session.note(f"Error: {error.format_message()}")
    return PROGRAM.usage_status
