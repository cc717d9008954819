"""The solver's cache on the store's records."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from builder.concurrency import CancelToken
from builder.oci.digest import Digest
from builder.solver.protocols import KeyPart, Result
from builder.store.store import Store


class StoreCache:
    """Results by key, kept in the state directory."""

    def __init__(self, store: Store) -> None:
        """Use an open store."""
        self._records = store.records

    def is_far(self, key: Digest) -> bool:
        """Whether looking up takes long: never."""
        del key
        return False

    def find(self, key: Digest) -> Result | None:
        """Look up; the snapshot is pinned by this process from now on."""
        record = self._records.find(key)
        return None if record is None else Result(record.slow, record.snapshot)

    def save(
        self, fast: Digest, result: Result, *, step: Digest, name: str, parts: Sequence[KeyPart]
    ) -> None:
        """Remember a result under both keys."""
        self._records.save(
            fast, result.key, snapshot=result.snapshot, step=step, name=name, parts=parts
        )

    def locked(self, key: Digest, token: CancelToken) -> AbstractContextManager[None]:
        """Hold the key's lock against other processes and threads."""
        return self._records.locked(key, token)
