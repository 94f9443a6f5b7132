"""The budget of `stores.budget` as events: so many a second, so many at once, by priority."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from agent.config.model import Budget
from agent.stores.budget import LEAST_BURST, LEAST_PER_SECOND, LOGIN_SHARE, Priority
from benchmarks.fleet.load import REFRESH_EVERY
from benchmarks.fleet.world import World

CONCURRENT = Budget().concurrent


class Pace:
    """`send(job)` once it is its turn; whoever sends says `done` afterwards."""

    def __init__(self, world: World, secrets: int, send: Callable[[Any], None]) -> None:
        self._world, self._send = world, send
        self._per_second = max(LEAST_PER_SECOND, 2 * secrets / REFRESH_EVERY)
        self._burst = self._left = float(max(LEAST_BURST, secrets + LOGIN_SHARE))
        self._filled_at, self._running, self._order = world.now, 0, count()
        self._queue: list[tuple[Priority, int, Any]] = []

    def ask(self, priority: Priority, job: Any) -> None:
        if self._queue or not self._take():
            heapq.heappush(self._queue, (priority, next(self._order), job))
            self._pump()
        else:
            self._send(job)

    def done(self) -> None:
        """A request has come to its end."""
        self._running -= 1
        self._pump()

    def _pump(self, _: object = None) -> None:
        while self._queue and self._running < CONCURRENT:
            if not self._take():
                missing = (1.0 - self._left) / self._per_second
                self._world.at(self._world.now + missing, self._pump)
                return
            self._send(heapq.heappop(self._queue)[2])

    def _take(self) -> bool:
        now = self._world.now
        self._left = min(self._burst, self._left + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        if self._running >= CONCURRENT or self._left < 1.0:
            return False
        self._left -= 1.0
        self._running += 1
        return True
