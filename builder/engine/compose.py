"""Put the engine together: the only place that constructs its parts.

Processes that work beside this one are there before the engine is loaded: they are small, and at
work meanwhile.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from builder.concurrency import CancelToken
from builder.engine.forerunner import Forerunner
from builder.engine.settings import Settings
from builder.events import Sink, Warned
from builder.kernel.namespaces import enter
from builder.store.detached import run_detached

if TYPE_CHECKING:
    from builder.engine.local import LocalEngine


@contextmanager
def opened(
    settings: Settings,
    token: CancelToken,
    sink: Sink,
    *,
    forerunner: Forerunner | None = None,
    later: Callable[[Callable[[], None]], None] = run_detached,
) -> "Iterator[LocalEngine]":
    """Enter the namespaces, open the store, and lend the engine; everything is closed at the end.

    For a build it is given the parser's forerunner; only then it can start sandboxes. `later` does
    what no answer waits for. Must be called while the process has one thread: making a user
    namespace demands it.
    """
    privileges = enter()
    with ExitStack() as stack:
        zygote = None
        if forerunner is not None:
            from builder.sandbox.zygote import Zygote

            stack.callback(forerunner.close)
            recruit = forerunner.released()
            zygote = stack.enter_context(Zygote.recruited(*recruit) if recruit else Zygote.start())
        from builder.engine.local import LocalEngine
        from builder.store.store import Store

        store = Store.open(settings.root, privileges, warn=lambda text: sink(Warned(text)))
        stack.enter_context(store)
        engine = LocalEngine(
            settings,
            privileges,
            store,
            token=token,
            sink=sink,
            zygote=zygote,
            forerunner=forerunner,
            later=later,
        )
        stack.callback(engine.settle)
        yield engine
