"""When a container that ended starts again. Pure."""

from builder.containers.request import RestartRequest

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 60.0
_STABLE_S = 10.0
"""After a run of this length the delay begins anew."""


class RestartPolicy:
    """Decides after each end; the delay doubles from 100 ms to one minute."""

    def __init__(self, request: RestartRequest) -> None:
        """Begin with the shortest delay."""
        self._request = request
        self._count = 0
        self._delay_s = _FIRST_DELAY_S

    def delay_s(self, status: int, *, ran_s: float) -> float | None:
        """Give the seconds to wait before the next start, None if there is none."""
        if not self._is_wanted(status):
            return None
        self._count += 1
        delay_s = _FIRST_DELAY_S if ran_s >= _STABLE_S else self._delay_s
        self._delay_s = min(_LONGEST_DELAY_S, delay_s * 2)
        return delay_s

    def _is_wanted(self, status: int) -> bool:
        if self._request.policy in {"always", "unless-stopped"}:
            return True
        limit = self._request.maximum_retries
        is_left = limit == 0 or self._count < limit
        return self._request.policy == "on-failure" and status != 0 and is_left
