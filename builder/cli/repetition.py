"""Leave behind what `cli.instant` needs, when a `run` is repeated with the very same words."""

import marshal
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from builder.cli import fast, instant
from builder.cli.options import Arguments
from builder.cli.session import Session

if TYPE_CHECKING:
    from builder.containers.recipe import Recipe

_SEEN = marshal.dumps(("seen",))
_FOREIGN = ("env-file", "label-file", "attach")
"""Options whose meaning is not in the command line alone."""


class Repetition:
    """One `run`, which may be the same as one before and one to come."""

    def __init__(self, session: Session, arguments: Arguments) -> None:
        """Note the moment: what changes from now on is not what the container was made of."""
        self._root = os.fsencode(session.settings.root)
        self._since_ns = time.time_ns()
        self._arguments = arguments

    def keeper(self) -> "Callable[[Recipe | None], None] | None":
        """Give what keeps a recipe; None at the first time, or if these words cannot have one."""
        if not self._is_fit():
            return None
        identity = fast.identity_of(sys.argv[1:])
        path = fast.state_path(self._root, identity)
        try:
            is_wanted = os.stat(path).st_size > 0
        except OSError:
            if os.path.exists(os.path.join(self._root, b"content")):  # else there is no store yet
                _keep(path, _SEEN)
            return None
        return (lambda recipe: self._keep(path, identity, recipe)) if is_wanted else None

    def _is_fit(self) -> bool:
        arguments = self._arguments
        return (
            arguments.flag("rm")
            and arguments.flag("sig-proxy")
            and arguments.values("network") == ("host",)
            and not arguments.flag("interactive")
            and not any(arguments.values(name) for name in _FOREIGN)
            and all("=" in word for word in arguments.values("env"))
        )

    def _keep(self, path: bytes, identity: tuple[object, ...], recipe: "Recipe | None") -> None:
        from builder.containers.recipe import WATCHED

        if recipe is None:
            _keep(path, b"")  # so that nobody tries again
            return
        files = []
        for name in WATCHED:
            packed = fast.state_of(os.fsencode(name))
            if packed and not fast.is_settled(os.stat(name), self._since_ns):
                return
            files.append((os.fsencode(name), packed))
        generation = fast.generation_of(self._root)
        host = os.uname().nodename
        conditions = (generation, instant.boot_id(), host, tuple(files), recipe.nodes)
        state: Any = (
            instant.FORMAT,
            identity,
            conditions,
            recipe.lowers,
            tuple(recipe.sandbox),
            tuple(recipe.papers),
        )
        _keep(path, marshal.dumps(state))


def _keep(path: bytes, content: bytes) -> None:
    """Write a state file; without it the next time takes longer, no more."""
    from builder.cli.shortcut import keep

    try:
        keep(path, content)
    except OSError:
        return


def adopted(root: str, container_id: str, **running: Any) -> int:
    """Go on with a container that `instant` has started; its exit status."""
    from builder.cli.main import guarded
    from builder.containers.adoption import Running, adopt
    from builder.engine.settings import Settings

    session = Session(Settings(root=root), os.environ)
    return guarded(session, lambda: adopt(root, container_id, Running(**running), session.warn))
