"""Refused connections, told seldom: a flood of them is no flood of the log."""

from __future__ import annotations

from agent.core.clock import Clock
from agent.core.events import ConnectionRefused, Emit

TELL_EVERY = 10.0
"""Seconds, for each user and limit."""
MOST_USERS = 1024


class Refusals:
    """Counts by user and limit: the first is told at once, the rest in sums."""

    def __init__(self, listener: str, clock: Clock, emit: Emit) -> None:
        self._listener, self._clock, self._emit = listener, clock, emit
        self._told_at: dict[tuple[int | None, str], float] = {}
        self._untold: dict[tuple[int | None, str], int] = {}

    def count(self, uid: int | None, limit: str) -> None:
        key = (uid, limit)
        self._untold[key] = self._untold.get(key, 0) + 1
        now = self._clock.now()
        if now - self._told_at.get(key, float("-inf")) >= TELL_EVERY:
            self._told_at[key] = now
            self._tell(key)
        if len(self._told_at) > MOST_USERS:
            self.tell_rest()
            self._told_at.clear()

    def tell_rest(self) -> None:
        """What has been counted and not told."""
        for key in list(self._untold):
            self._tell(key)

    def _tell(self, key: tuple[int | None, str]) -> None:
        number = self._untold.pop(key)
        uid, limit = key
        refused = ConnectionRefused(listener=self._listener, uid=uid, limit=limit, number=number)
        self._emit(refused)
