"""What is noted while a build runs: hits, durations, and what the keys of new results were made of.

Costs a build next to nothing; `account` makes sense of it where something ran.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from builder.concurrency import CancelToken
from builder.events import Cached, Event, Failed, Finished, Sink, Started
from builder.oci.digest import Digest
from builder.solver.protocols import Cache, KeyPart, Result


class Observer:
    """A sink that notes which steps hit, ran, failed, and how long they took."""

    def __init__(self, sink: Sink) -> None:
        """Pass every event on to `sink`."""
        self._sink = sink
        self._started: dict[str, int] = {}
        self.hits: set[str] = set()
        self.failed: set[str] = set()
        self.durations_ns: dict[str, int] = {}
        self.parts: dict[Digest, tuple[KeyPart, ...]] = {}
        """By fast key, what the keys of results that were saved were made from."""

    def __call__(self, event: Event) -> None:
        """Note an event."""
        match event:
            case Started():
                self._started[event.step] = event.time_ns
            case Cached():
                self.hits.add(event.step)
            case Finished():
                self.durations_ns[event.step] = event.time_ns - self._started.get(event.step, 0)
            case Failed():
                self.failed.add(event.step)
            case _:
                pass
        self._sink(event)

    def noting(self, cache: Cache) -> "NotingCache":
        """Give the same cache, of which the parts of saved keys are noted."""
        return NotingCache(cache, self.parts)

    @property
    def has_run(self) -> bool:
        """Whether any step was executed."""
        return bool(self.durations_ns or self.failed)


class NotingCache:
    """A cache that notes from what the keys of saved results were made."""

    def __init__(self, cache: Cache, parts: dict[Digest, tuple[KeyPart, ...]]) -> None:
        """Pass everything on to `cache`; `parts` is filled by fast key."""
        self._cache = cache
        self._parts = parts

    def is_far(self, key: Digest) -> bool:
        """Tell whether looking up takes long."""
        return self._cache.is_far(key)

    def find(self, key: Digest) -> Result | None:
        """Look up."""
        return self._cache.find(key)

    def save(
        self, fast: Digest, result: Result, *, step: Digest, name: str, parts: Sequence[KeyPart]
    ) -> None:
        """Note, and save."""
        self._parts[fast] = tuple(parts)
        self._cache.save(fast, result, step=step, name=name, parts=parts)

    def locked(self, key: Digest, token: CancelToken) -> AbstractContextManager[None]:
        """Hold the key's lock."""
        return self._cache.locked(key, token)
