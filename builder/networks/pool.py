"""Networks for the steps of a build: one namespace for each step that runs at the same time.

Making a namespace with a bridge costs some milliseconds, so a namespace goes back to the pool when
its step ends and serves the next one: nothing of a step outlives it there, since its processes are
dead and without CAP_NET_ADMIN it could not change interfaces, routes or filters.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, Self

from builder.errors import BuilderError, Denied
from builder.networks import bridge, usermode
from builder.networks.model import Endpoint, held_by_me
from builder.networks.registry import DEFAULT, Networks
from builder.values import NamedTuple


class _Place(NamedTuple):
    """A namespace that is ready, and what takes down its connection."""

    namespace: int
    disconnect: Callable[[], None]
    is_process: bool = False
    """The connection is a process of ours, which only we can wait for."""


class NetworkPool:
    """Hands out network namespaces with a way out; thread-safe; a context manager.

    As root they are on the default bridge network; else they use a program such as pasta, and
    where that is missing the host's network itself, with one warning.
    """

    def __init__(
        self,
        networks: Networks,
        *,
        is_root: bool,
        warn: Callable[[str], None] = lambda _text: None,
        later: Callable[[Callable[[], None]], None] = lambda work: work(),
    ) -> None:
        """Keep what is needed to make namespaces; none is made yet.

        `later` may do some work when nobody waits for it: the kernel takes 50 ms for a bridge.
        """
        self._networks = networks
        self._is_root = is_root
        self._warn = warn
        self._later = later
        self._lock = threading.Lock()
        self._idle: list[_Place] = []
        self._all: list[_Place] = []
        self._is_host_forced = False

    def __enter__(self) -> Self:
        """Return the pool itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Take everything down."""
        self.close()

    @contextmanager
    def lease(self, *, is_reusable: bool = True) -> Iterator[int | Literal["host"]]:
        """Lend a namespace's descriptor, or "host"; the pool keeps the descriptor's ownership.

        A step that may change the network (CAP_NET_ADMIN) must say that its namespace is not
        reusable. Raises Denied if the machine cannot do it.
        """
        place = self._take()
        if place is None:
            yield "host"
            return
        try:
            yield place.namespace
        finally:
            if is_reusable:
                with self._lock:
                    self._idle.append(place)
            else:
                self._drop(place)

    def close(self) -> None:
        """Remove every namespace, address and, if it was the last user, the bridge."""
        with self._lock:
            places, self._all, self._idle = self._all, [], []
        for place in places:
            os.close(place.namespace)
        for place in places:
            if place.is_process:
                place.disconnect()
        bridged = [place for place in places if not place.is_process]
        if bridged:
            self._later(lambda: _disconnect(bridged))

    def _take(self) -> _Place | None:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._is_host_forced:
                return None
        place = self._bridged() if self._is_root else self._user_mode()
        if place is not None:
            with self._lock:
                self._all.append(place)
        return place

    def _drop(self, place: _Place) -> None:
        with self._lock:
            self._all.remove(place)
        os.close(place.namespace)
        place.disconnect()

    def _bridged(self) -> _Place:
        namespace = bridge.new_namespace()
        owner = f"build-{os.getpid()}"
        wanted = Endpoint(
            *(DEFAULT, "", owner, owner, os.urandom(32).hex(), "", 0, "", "", "eth0", "")
        )
        try:
            endpoint = bridge.connect(self._networks, DEFAULT, held_by_me(wanted), namespace)
        except BaseException:
            os.close(namespace)
            raise
        return _Place(namespace, lambda: bridge.disconnect(self._networks, endpoint))

    def _user_mode(self) -> _Place | None:
        try:
            namespace = bridge.new_namespace()
            try:
                program = usermode.start(namespace)
            except BaseException:
                os.close(namespace)
                raise
        except (Denied, BuilderError) as error:
            with self._lock:
                is_first, self._is_host_forced = not self._is_host_forced, True
            if is_first:
                self._warn(f"steps use the host's network: {error.what}")
            return None
        return _Place(namespace, program.stop, is_process=True)


def _disconnect(places: list[_Place]) -> None:
    for place in places:
        place.disconnect()
