"""Put the engine together: the only place that constructs its parts."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from builder.concurrency import CancelToken
from builder.engine.local import LocalEngine
from builder.engine.settings import Settings
from builder.events import Sink, Warned
from builder.kernel.namespaces import enter
from builder.store.store import Store


@contextmanager
def opened(settings: Settings, token: CancelToken, sink: Sink) -> Iterator[LocalEngine]:
    """Enter the namespaces, open the store, and lend the engine; everything is closed at the end.

    Must be called while the process has one thread: making a user namespace demands it.
    """
    privileges = enter()
    with ExitStack() as stack:
        store = Store.open(settings.root, privileges, warn=lambda text: sink(Warned(text)))
        stack.enter_context(store)
        engine = LocalEngine(settings, privileges, store, token=token, sink=sink, stack=stack)
        stack.callback(engine.settle)
        yield engine
