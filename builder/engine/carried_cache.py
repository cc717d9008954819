"""Caches that came from elsewhere, and several caches asked in turn.

A carried cache only answers. It is opened when this store has no answer, and nothing of it is
unpacked before a key is asked for that it has: both take long, and happen in the solver's pool.
What is broken in it is told once and is a miss.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from builder.concurrency import CancelToken
from builder.engine.cache_document import CacheDocument, CarriedRecord
from builder.engine.collecting import Foreseen
from builder.errors import BuilderError, NotInRegistry, RegistryError
from builder.oci.config import chain_on
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest, key
from builder.oci.provider import Provider
from builder.solver.protocols import Cache, KeyPart, Result
from builder.store.store import Store
from builder.store.unpack import unpack_image

Begin = Callable[[Sequence[Descriptor]], None]


class CarriedCache:
    """The records of one document, whose layers a provider has."""

    def __init__(
        self,
        store: Store,
        document: CacheDocument,
        provider: Provider,
        *,
        name: str,
        warn: Callable[[str], None],
        token: CancelToken,
        begin: Begin = lambda _descriptors: None,
    ) -> None:
        """Index the records; later ones of a key count. `begin` is told what will be opened."""
        self._store = store
        self._document = document
        self._provider = provider
        self._name = name
        self._warn = warn
        self._token = token
        self._begin = begin
        self._records = {r.slow: r for r in document.records}
        self._records.update((r.fast, r) for r in document.records)
        self._has_failed = False
        self._lock = threading.Lock()

    def __str__(self) -> str:
        """Name where it came from."""
        return self._name

    def is_far(self, key: Digest) -> bool:
        """Whether there is a record, which has to be unpacked then."""
        return key in self._records

    def foresee(self, key: Digest) -> Foreseen | None:
        """Tell what a key stands for, without unpacking it."""
        record = self._records.get(key)
        if record is None:
            return None
        layers = tuple(self._document.layers[position] for position in record.layers)
        return Foreseen(record.slow, layers, self._provider)

    def find(self, key: Digest) -> Result | None:
        """Look a key up and unpack what it stands for, as far as it is not here yet."""
        record = self._records.get(key)
        if record is None:
            return None
        try:
            return self._unpacked(record)
        except BuilderError as error:
            self._token.check()  # what was cancelled is no fault of the cache
            self._failed(record, error)
            return None

    def _failed(self, record: CarriedRecord, error: BuilderError) -> None:
        """Forget what needs the layer that failed, or all if their place is gone; tell it once."""
        is_gone = isinstance(error, RegistryError) and not isinstance(error, NotInRegistry)
        broken = self._first_missing(record)
        with self._lock:
            left = {} if is_gone else self._records
            self._records = {
                key: one
                for key, one in left.items()
                if one is not record and broken not in one.layers
            }
            is_first, self._has_failed = not self._has_failed, True
        if is_first:
            self._warn(f"cache {self._name}: {record.name or record.slow}: {error.what}")

    def _first_missing(self, record: CarriedRecord) -> int | None:
        """Find the layer up to which all was unpacked."""
        chain: Digest | None = None
        for position in record.layers:
            chain = chain_on(chain, self._document.layers[position].layer.diff_id)
            if self._store.layers.by_chain(chain) is None:
                return position
        return None

    def save(
        self, fast: Digest, result: Result, *, step: Digest, name: str, parts: Sequence[KeyPart]
    ) -> None:
        """Keep nothing: what is exported is collected when the build has ended."""

    def locked(self, key: Digest, token: CancelToken) -> AbstractContextManager[None]:
        """Hold nothing: only answers come from here."""
        del key, token
        return nullcontext()

    def _unpacked(self, record: CarriedRecord) -> Result:
        store = self._store
        manifest, config = self._document.image(record)
        fresh: list[tuple[Digest, int]] = []
        chain: Digest | None = None
        wanted: list[Descriptor] = []
        for position in record.layers:
            carried = self._document.layers[position]
            chain = chain_on(chain, carried.layer.diff_id)
            if store.layers.by_chain(chain) is None:
                fresh.append((chain, carried.created_s))
                wanted.append(carried.layer.descriptor)
        self._begin([one for one in wanted if not store.content.has(one.digest)])
        snapshot = unpack_image(store, manifest, config, provider=self._provider, token=self._token)
        for chain, created_s in fresh:
            made = store.layers.by_chain(chain)
            if made is not None:
                store.snapshots.backdate(made, created_s)
        store.records.save(
            record.fast,
            record.slow,
            snapshot=None if snapshot is None else snapshot.id,
            step=key("carried/1", record.slow),
            name=record.name,
            parts=(),
        )
        return Result(record.slow, None if snapshot is None else snapshot.id)


class LateCache:
    """A carried cache that is opened when it is first asked; one that cannot be knows nothing."""

    def __init__(self, name: str, open_cache: Callable[[], CarriedCache | None]) -> None:
        """Keep how to open it, which must tell the user what is wrong and never raise for that."""
        self._name = name
        self._open = open_cache
        self._cache: CarriedCache | None = None
        self._is_open = False
        self._lock = threading.Lock()

    def __str__(self) -> str:
        """Name where it comes from."""
        return self._name

    def is_far(self, key: Digest) -> bool:
        """Whether it is to be opened first, or unpacked."""
        return not self._is_open or (self._cache is not None and self._cache.is_far(key))

    def open(self) -> CarriedCache | None:
        """Open it unless that was done; None if it cannot be."""
        with self._lock:
            if not self._is_open:
                self._cache = self._open()
                self._is_open = True
        return self._cache

    def find(self, key: Digest) -> Result | None:
        """Open the cache if need be, and look up."""
        cache = self.open()
        return None if cache is None else cache.find(key)

    def save(
        self, fast: Digest, result: Result, *, step: Digest, name: str, parts: Sequence[KeyPart]
    ) -> None:
        """Keep nothing."""

    def locked(self, key: Digest, token: CancelToken) -> AbstractContextManager[None]:
        """Hold nothing."""
        del key, token
        return nullcontext()


class CacheChain:
    """Several caches: all are asked, in order; only the first one keeps."""

    def __init__(
        self, first: Cache, others: Sequence[Cache], log: Callable[[Digest, str, bool], None]
    ) -> None:
        """Ask `first`, then the others; every look-up is told to `log`."""
        self._first = first
        self._others = others
        self._log = log

    def is_far(self, key: Digest) -> bool:
        """Whether the first cache does not know, and another one would take its time."""
        return any(one.is_far(key) for one in self._others) and self._first.find(key) is None

    def find(self, key: Digest) -> Result | None:
        """Look up until somebody knows."""
        for cache in (self._first, *self._others):
            found = cache.find(key)
            name = "this store" if cache is self._first else str(cache)
            self._log(key, name, found is not None)
            if found is not None:
                return found
        return None

    def save(
        self, fast: Digest, result: Result, *, step: Digest, name: str, parts: Sequence[KeyPart]
    ) -> None:
        """Remember in the first cache."""
        self._first.save(fast, result, step=step, name=name, parts=parts)

    def locked(self, key: Digest, token: CancelToken) -> AbstractContextManager[None]:
        """Hold the key in the first cache."""
        return self._first.locked(key, token)
