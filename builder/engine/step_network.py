"""The default network of RUN steps: set up when the first step wants it, taken down afterwards."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Self

_GATEWAY = 2
"""The column of /proc/net/route."""

if TYPE_CHECKING:
    from builder.networks.pool import NetworkPool


def default_gateway() -> str:
    """Read the host's own IPv4 gateway, empty if it has none."""
    with open("/proc/net/route", encoding="utf-8") as file:
        for line in file:
            fields = line.split()
            if len(fields) > _GATEWAY and fields[1] == "0" * 8:
                number = bytes.fromhex(fields[_GATEWAY])
                return ".".join(str(byte) for byte in reversed(number))
    return ""


class StepNetwork:
    """Lends network namespaces to the steps of one build; a context manager.

    What is left at its end is taken down later, so that the build need not wait for it.
    """

    def __init__(
        self,
        root: str,
        *,
        is_root: bool,
        warn: Callable[[str], None],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        """Keep what a pool needs; none is made, and nothing loaded, before it is needed."""
        self._root = root
        self._is_root = is_root
        self._warn = warn
        self._later = later
        self._pool: NetworkPool | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Take everything down."""
        if self._pool is not None:
            self._pool.close()

    @contextmanager
    def lease(self) -> Iterator[int | Literal["host"]]:
        """Lend a namespace to one step; see NetworkPool.lease."""
        with self._made().lease() as network:
            yield network

    def host_gateway(self, network: int | Literal["none", "host"]) -> str:
        """Give the address of the host as a step sees it."""
        if not isinstance(network, int):
            return "127.0.0.1"
        if self._is_root:
            from builder.networks.registry import DEFAULT, Networks

            return Networks(self._root).get(DEFAULT).gateway
        return default_gateway() or "127.0.0.1"  # such as pasta gives it to the host

    def _made(self) -> "NetworkPool":
        with self._lock:
            if self._pool is None:
                from builder.networks.pool import NetworkPool
                from builder.networks.registry import Networks

                self._pool = NetworkPool(
                    Networks(self._root),
                    is_root=self._is_root,
                    warn=self._warn,
                    later=self._later,
                )
            return self._pool
