"""The trash that runs of `--rm` fill, emptied by a process of its own when much has gathered."""

import os

_LIMIT = 64


def tidy(root: str) -> None:
    """Let somebody else empty the trash of a state directory, if that is worth it."""
    if len(os.listdir(f"{root}/trash")) < _LIMIT:
        return
    from builder.store.detached import run_detached

    run_detached(lambda: _empty(root))


def _empty(root: str) -> None:
    """Empty it, unless another process is at it."""
    from builder.store import trash
    from builder.store.locks import Locks
    from builder.store.paths import Paths

    paths = Paths(root)
    with Locks(paths.lock).tried("trash") as is_held:
        if is_held:
            trash.empty(paths.trash)
