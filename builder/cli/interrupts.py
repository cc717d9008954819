"""Signals that end the program: the first asks for an orderly end, the second kills.

The handler runs in the main thread between two bytecodes, perhaps inside a lock of the token
itself; so the cancelling is done by a fresh bare thread, which takes locks like anybody else.
"""

import signal
from _thread import start_new_thread
from types import FrameType

from builder.concurrency import CancelToken

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While entered, turns INT, TERM and HUP into a cancelled token. Signals ignored stay so."""

    def __init__(self, token: CancelToken) -> None:
        """Prepare; no handler is set yet."""
        self.signal: int | None = None
        self._token = token
        self._caught: list[signal.Signals] = []

    def __enter__(self) -> None:
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a background job
                signal.signal(number, self._on_signal)
                self._caught.append(number)

    def __exit__(self, *_exc: object) -> None:
        self._restore()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        self._restore()
        start_new_thread(self._token.cancel, ())

    def _restore(self) -> None:
        for number in self._caught:
            signal.signal(number, signal.SIG_DFL)
        self._caught.clear()
