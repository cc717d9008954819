"""What is left to do when the user has the answer: in a process of its own, at low priority."""

import os
from collections.abc import Callable

from builder.store.detached import run_detached
from builder.store.store import Store


def afterwards(root: str, work: Callable[[], None] | None) -> None:
    """Do some work, if there is any; then make the store durable, and empty its trash.

    Call it last, when the store is closed and no other thread runs.
    """

    def all_of_it() -> None:
        if work is not None:
            work()
        if os.path.isdir(root):  # else it was a passing one, and is not to come back
            with Store.open(root) as store:
                store.sync()
                store.empty_trash(is_gentle=True)

    run_detached(all_of_it)
