"""When to try again, and when to give up: exponential pauses with jitter, as the server wishes.

Attempts count only while nothing comes: progress starts the count anew.
"""

import os
import time

from builder.concurrency import CancelToken
from builder.errors import BuilderError, RateLimited
from builder.registry.transport import Unreachable

MAX_TRIES = 6
MAX_TRIES_IF_REFUSED = 3
MAX_TRIES_IN_ALL = 60
FIRST_PAUSE_S = 0.2
MAX_PAUSE_S = 8.0
MAX_RETRY_AFTER_S = 60.0
_SLICE_S = 0.1


class Patience:
    """The tries of one request or transfer."""

    def __init__(self, token: CancelToken) -> None:
        """Start with the first try."""
        self._token = token
        self._tries = 1
        self._all = 1

    def progressed(self) -> None:
        """Count tries anew."""
        self._tries = 1

    def after(self, error: BuilderError, retry_after_s: float | None = None) -> None:
        """Pause before the next try; raise the error if there will be none."""
        is_lasting = isinstance(error, Unreachable) and error.is_lasting
        is_refused = isinstance(error, Unreachable) and error.is_refused
        is_over = self._tries >= (MAX_TRIES_IF_REFUSED if is_refused else MAX_TRIES)
        is_over = is_over or self._all >= MAX_TRIES_IN_ALL
        if retry_after_s is not None and retry_after_s > MAX_RETRY_AFTER_S:
            is_over = True
            error.fix = f"try again in {int(retry_after_s)} seconds"
            if isinstance(error, RateLimited):
                error.fix += ", or log in: accounts have higher limits"
        if is_lasting or is_over:
            if self._all > 1 and not error.what.endswith("times)"):
                error.what += f" (tried {self._all} times)"
                error.args = (error.what,)
            raise error
        pause_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2 ** (self._tries - 1))
        pause_s *= 0.5 + os.urandom(1)[0] / 255
        self._pause(max(pause_s, retry_after_s or 0))
        self._tries += 1
        self._all += 1

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._token.check()
            time.sleep(min(left, _SLICE_S))


def retry_after_s(text: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date.

    Spec: RFC 9110, section 10.2.3.
    """
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
