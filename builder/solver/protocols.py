"""What the solver needs from outside: a cache of results, and workers that make them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from builder.concurrency import CancelToken
from builder.graph.vertex import Selector, Vertex
from builder.oci.digest import Digest
from builder.values import NamedTuple


class Result(NamedTuple):
    """What a vertex came to: a committed snapshot, or a tree of the client.

    `key` is the slow cache key: what the result depends on, by content where content is known.
    """

    key: Digest
    snapshot: int | None = None
    context: str | None = None
    is_cached: bool = False


class KeyPart(NamedTuple):
    """One thing that a key was made from, kept to explain a later miss."""

    kind: str
    """`op`, `content` or `input`."""
    label: str
    digest: Digest


class Cache(Protocol):
    """A durable map from keys to results. `find` may forget anything at any time."""

    def is_far(self, key: Digest) -> bool:
        """Whether `find` may take long for this key: then it is called in the pool."""
        ...

    def find(self, key: Digest) -> Result | None:
        """Look a result up; its snapshot exists while this build's lease lives."""
        ...

    def save(
        self, fast: Digest, result: Result, *, step: Digest, name: str, parts: Sequence[KeyPart]
    ) -> None:
        """Remember a result under its own (slow) key and the fast key.

        `step` identifies the instruction over builds, whatever its inputs.
        """
        ...

    def locked(self, key: Digest, token: CancelToken) -> AbstractContextManager[None]:
        """Hold the key's lock, so that no two builds execute the same step at once."""
        ...


class Worker(Protocol):
    """Executes operations. All methods may be called from several threads at once."""

    def context_content(self, vertex: Vertex, selectors: Sequence[Selector]) -> Digest:
        """Hash the selected paths of a context vertex; NotFound if a required one is missing."""
        ...

    def content(self, result: Result, selectors: Sequence[Selector]) -> Digest:
        """Hash the selected paths of a result; NotFound if a required one is missing."""
        ...

    def execute(self, vertex: Vertex, inputs: Sequence[Result], token: CancelToken) -> Result:
        """Do the work; the result's key is filled in by the solver."""
        ...
