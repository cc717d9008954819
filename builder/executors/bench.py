"""The workbench of a build: what its executors share.

Made by the engine for one build. Executors use it from several threads; what needs a lock has one.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Literal

from builder.errors import NotFound
from builder.events import Sink
from builder.executors.identity import Identities
from builder.kernel.namespaces import Privileges
from builder.layers.context import ContextTree
from builder.oci.provider import Provider
from builder.sandbox.zygote import Zygote
from builder.source import Span
from builder.store.store import Store
from builder.values import NamedTuple

MOUNT_POINTS = frozenset({"dev", "proc", "sys"})
"""Directories that stay in the layer of a step whose base lacks them, as the reference does it."""

StepNetwork = Literal["none", "host"] | int
"""What a step is connected to: nothing, the host, or a network namespace by its descriptor."""


class LocalContext:
    """A directory of the client with its ignore rules; hashing and copying take turns."""

    def __init__(self, tree: ContextTree) -> None:
        """Take over the tree."""
        self.tree = tree
        self.lock = threading.Lock()


class StepLimits(NamedTuple):
    """Limits of every RUN of a build; None where there is none. Not part of any key."""

    memory_bytes: int | None = None
    cpus: float | None = None


class Bench(NamedTuple):
    """Collaborators and the client's inputs; everything is owned by the engine."""

    store: Store
    privileges: Privileges
    zygote: Zygote
    sink: Sink
    contexts: Mapping[str, LocalContext]
    secrets: Mapping[str, Callable[[], bytes]]
    """Secret values by ID; called when a step mounts one, never earlier."""
    agents: Mapping[str, Callable[[], AbstractContextManager[str]]]
    """SSH agents by ID: a context that gives the path of a socket."""
    network: Callable[[], AbstractContextManager[StepNetwork]]
    """Lends the default network to one step at a time."""
    resolv_conf: Callable[[StepNetwork], bytes]
    host_gateway: Callable[[StepNetwork], str]
    """Under which address a step on a network reaches the host."""
    provider: Callable[[str], Provider | None]
    """Where the blobs of an image come from, by its name, if they are not in the store."""
    identities: Identities
    warn: Callable[[str, Span | None], None]
    """Told what a step at a place did that the user may not expect; a strict build raises."""
    meanwhile: Callable[[], None]
    """Called when a step's process has been asked for, which takes some milliseconds."""
    limits: StepLimits = StepLimits()
    cache_namespace: str = ""
    is_offline: bool = False
    """Whether nothing may be fetched; what a step's own commands do is not meant."""

    def context(self, name: str) -> LocalContext:
        """Find a context by name; raise NotFound."""
        try:
            return self.contexts[name]
        except KeyError:
            raise NotFound(f"there is no build context named {name!r}") from None
