"""The pace that all requests to one store share: so many a second, so many at once, by priority."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import IntEnum
from itertools import count
from typing import Protocol, TypeVar

import msgspec

from agent.config.model import Budget as BudgetSpec
from agent.core.clock import Clock


class Priority(IntEnum):
    """Lower goes first: without a token nothing else works, without renewal leases are lost.

    What local callers want passed on goes after all that is the agent's own.
    """

    LOGIN = 0
    RENEW = 1
    READ = 2
    REVOKE = 3
    PASS_ON = 4


T = TypeVar("T")


class Paced(Protocol):
    """Sends one request at the store's pace, and keeps account of whether the store answers."""

    async def __call__(
        self, priority: Priority, operation: str, send: Callable[[], Awaitable[T]]
    ) -> T: ...


class Demand(msgspec.Struct, frozen=True):
    """What the configuration asks of a store: its secrets, and their readings a second."""

    secrets: int
    per_second: float


LEAST_PER_SECOND = 20.0
LEAST_BURST = 40
SHORTEST_PAUSE = 0.001
LOGIN_SHARE = 20
"""Requests of a burst that are there for logging in and for preflights."""


class Budget:
    """A token bucket and a bound on what is under way; those who wait go by priority, then order.

    `run()` hands out slots to those who wait; a slot that is free at once needs it not.
    """

    def __init__(self, clock: Clock, *, per_second: float, burst: int, concurrent: int) -> None:
        self._clock = clock
        self._per_second = per_second
        self._burst = float(burst)
        self._concurrent = concurrent
        self._left = float(burst)
        self._filled_at = clock.now()
        self._running = 0
        self._order = count()
        self._waiting: list[tuple[Priority, int, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()

    @asynccontextmanager
    async def slot(self, priority: Priority) -> AsyncIterator[None]:
        """While entered, one request may be under way."""
        if self._waiting or not self._take():
            await self._wait(priority)
        try:
            yield
        finally:
            self._running -= 1
            self._wake.set()

    async def run(self) -> None:
        """Hand out slots as they come free; never returns."""
        while True:
            await self._clock.wait(self._wake)
            self._wake.clear()
            while self._waiting and self._running < self._concurrent:
                if not self._take():
                    missing = (1.0 - self._left) / self._per_second
                    await self._clock.sleep(max(missing, SHORTEST_PAUSE))
                    continue
                _, _, granted = heapq.heappop(self._waiting)
                if granted.done():  # whoever waited was cancelled
                    self._give_back()
                else:
                    granted.set_result(None)

    def _take(self) -> bool:
        """Take one slot, if there is one in rate and number."""
        now = self._clock.now()
        self._left = min(self._burst, self._left + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        if self._running >= self._concurrent or self._left < 1.0:
            return False
        self._left -= 1.0
        self._running += 1
        return True

    def _give_back(self) -> None:
        self._left += 1.0
        self._running -= 1

    async def _wait(self, priority: Priority) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), granted))
        self._wake.set()
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():  # granted in the moment of cancelling
                self._running -= 1
                self._wake.set()
            raise


def budget_for(spec: BudgetSpec, demand: Demand, clock: Clock) -> Budget:
    """The budget as configured; where it is silent, as much as the secrets need.

    The start may read every secret once in one go; after that, twice the steady pace.
    """
    return Budget(
        clock,
        per_second=spec.per_second or max(LEAST_PER_SECOND, 2 * demand.per_second),
        burst=spec.burst or max(LEAST_BURST, demand.secrets + LOGIN_SHARE),
        concurrent=spec.concurrent,
    )
