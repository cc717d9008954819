"""What is put off until the user has the answer: done then, in a process of its own."""

import os
from collections.abc import Callable
from contextlib import suppress


class Afterwards:
    """Work to be done in order. What fails keeps nothing else from being done."""

    def __init__(self) -> None:
        """Begin with no work."""
        self._works: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        """Whether there is any work."""
        return bool(self._works)

    def add(self, work: Callable[[], None], *, is_first: bool = False) -> None:
        """Put some work off, behind what is there already or before it."""
        self._works.insert(0 if is_first else len(self._works), work)

    def start(self) -> None:
        """Let an orphan do the work. Call it as the very last: without threads, before the exit."""
        if self._works:
            from builder.store.detached import leave_behind

            leave_behind(self._do)

    def _do(self) -> None:
        for work in self._works:
            with suppress(Exception):  # nobody is there to be told
                work()


def tidy(root: str) -> None:
    """Make a store durable, and empty its trash."""
    from builder.store.store import Store

    if os.path.isdir(root):  # else it was a passing one, and is not to come back
        with Store.open(root) as store:
            store.sync()
            store.empty_trash(is_gentle=True)
