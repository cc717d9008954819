"""From the words a user types to the module of a command.

Docker's management forms (`builder image ls`) and old names lead to the same modules. A module's
name is the command's words joined by `_`.
"""

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from builder.cli import commands
from builder.cli.options import Arguments, Command
from builder.cli.session import Session
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.engine.api import Engine

_CONTAINER_WORDS = (
    "attach commit cp create diff exec export kill logs pause port rename restart rm run start "
    "stats stop top unpause update wait"
)
_IMAGE_WORDS = "build history import load pull push save tag"

GROUPS: dict[str, dict[str, str]] = {
    "image": {
        **{word: word for word in _IMAGE_WORDS.split()},
        "ls": "images",
        "list": "images",
        "rm": "rmi",
        "remove": "rmi",
        "inspect": "image_inspect",
        "prune": "image_prune",
    },
    "container": {
        **{word: word for word in _CONTAINER_WORDS.split()},
        "ls": "ps",
        "list": "ps",
        "ps": "ps",
        "remove": "rm",
        "inspect": "container_inspect",
        "prune": "container_prune",
    },
    "volume": {
        **{word: f"volume_{word}" for word in ("create", "inspect", "ls", "prune", "rm")},
        "list": "volume_ls",
        "remove": "volume_rm",
    },
    "network": {
        **{
            word: f"network_{word}"
            for word in ("connect", "create", "disconnect", "inspect", "ls", "prune", "rm")
        },
        "list": "network_ls",
        "remove": "network_rm",
    },
    "system": {"df": "system_df", "prune": "prune", "info": "info", "events": "events"},
    "buildx": {"build": "build", "b": "build", "du": "system_df", "prune": "builder_prune"},
    "builder": {"build": "build", "prune": "builder_prune"},
    "cache": {word: f"cache_{word}" for word in ("export", "import", "inspect", "ls", "rm")},
    "manifest": {
        word: f"manifest_{word}" for word in ("annotate", "create", "inspect", "ls", "push", "rm")
    },
}

ALIASES = {"df": "system_df", "du": "system_df", "search-tags": "search_tags"}


class Target(NamedTuple):
    """What words lead to: a module's name, the words that named it, and the words left."""

    module: str
    words: tuple[str, ...]
    rest: tuple[str, ...]


class Implementation(NamedTuple):
    """A command's table and the function that carries it out."""

    command: Command
    run: Callable[[Arguments, Session], int]


def resolve(words: Sequence[str]) -> Target | None:
    """Find the module that words name; None if there is no such command."""
    if not words:
        return None
    group = GROUPS.get(words[0])
    if group is None:
        return _existing(ALIASES.get(words[0], words[0]), words, 1)
    if len(words) == 1 or words[1] not in group:
        return None
    return _existing(group[words[1]], words, 2)


def _existing(module: str, words: Sequence[str], taken: int) -> Target | None:
    if "_" in words[0] or not module.isidentifier() or not os.path.exists(_path(module)):
        return None
    return Target(module, tuple(words[:taken]), tuple(words[taken:]))


def implementation(module: str) -> Implementation:
    """Import a command's module."""
    loaded = import_module(f"builder.cli.commands.{module}")
    return Implementation(loaded.COMMAND, loaded.run)


def description(module: str) -> "Callable[[Engine, str], dict[str, object]] | None":
    """Give the function by which an inspecting command describes one object."""
    if not has_module(module):
        return None
    found: Callable[[Engine, str], dict[str, object]] = import_module(
        f"builder.cli.commands.{module}"
    ).describe
    return found


def has_module(module: str) -> bool:
    """Tell whether a command's module is there."""
    return os.path.exists(_path(module))


def top_level() -> list[str]:
    """List the commands of one word, sorted."""
    names = os.listdir(os.path.dirname(_path("")))
    modules = (name.removesuffix(".py") for name in names if name.endswith(".py"))
    return sorted(module for module in modules if "_" not in module)


def modules_of_groups() -> list[str]:
    """List the modules that only groups lead to, sorted."""
    found = {module for group in GROUPS.values() for module in group.values() if "_" in module}
    return sorted(module for module in found if has_module(module))


def _path(module: str) -> str:
    return os.path.join(next(iter(commands.__path__)), f"{module}.py")
