"""Caches that came from elsewhere, and several caches asked in turn.

A carried cache only answers. Nothing of it is unpacked before a key is asked for that it has; what
is broken in it is told once and is a miss.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from builder.concurrency import CancelToken
from builder.engine.cache_document import CacheDocument, CarriedRecord
from builder.errors import BuilderError, Cancelled
from builder.oci.config import chain_on
from builder.oci.digest import Digest, key
from builder.oci.provider import Provider
from builder.solver.protocols import Cache, KeyPart, Result
from builder.store.store import Store
from builder.store.unpack import unpack_image


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
    ) -> None:
        """Index the records; later ones of a key count."""
        self._store = store
        self._document = document
        self._provider = provider
        self._name = name
        self._warn = warn
        self._token = token
        self._records = {r.slow: r for r in document.records}
        self._records.update((r.fast, r) for r in document.records)
        self._lock = threading.Lock()

    def __str__(self) -> str:
        """Name where it came from."""
        return self._name

    def find(self, key: Digest) -> Result | None:
        """Look a key up and unpack what it stands for, as far as it is not here yet."""
        record = self._records.get(key)
        if record is None:
            return None
        try:
            return self._unpacked(record)
        except Cancelled:
            raise
        except BuilderError as error:
            with self._lock:
                self._records = {k: r for k, r in self._records.items() if r is not record}
            self._warn(f"cache {self._name}: {record.name or record.slow}: {error.what}")
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
        for position in record.layers:
            carried = self._document.layers[position]
            chain = chain_on(chain, carried.layer.diff_id)
            if store.layers.by_chain(chain) is None:
                fresh.append((chain, carried.created_s))
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


class CacheChain:
    """Several caches: all are asked, in order; only the first one keeps."""

    def __init__(
        self, first: Cache, others: Sequence[Cache], log: Callable[[Digest, str, bool], None]
    ) -> None:
        """Ask `first`, then the others; every look-up is told to `log`."""
        self._first = first
        self._others = others
        self._log = log

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
