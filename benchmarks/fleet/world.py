"""Simulated time: calls in the order of their instants. Nothing here sleeps."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, Protocol

Call = Callable[[Any], None]


class Time(Protocol):
    """What is needed of time: what it is, and to be called."""

    @property
    def now(self) -> float: ...

    def at(self, instant: float, call: Call, subject: Any = None) -> None: ...


class World:
    """`now` in seconds; `draw` is the one source of chance, so a seed decides everything."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = Random(seed)  # noqa: S311  # lots, not secrets
        self.draw = self.random.random
        self._calls: list[tuple[float, int, Call, Any]] = []
        self._order = count()

    def at(self, instant: float, call: Call, subject: Any = None) -> None:
        """`call(subject)` at that instant, or now if it is past."""
        heapq.heappush(self._calls, (max(instant, self.now), next(self._order), call, subject))

    def run(self, until: float) -> None:
        """All that happens before `until`, which is then the time."""
        calls = self._calls
        while calls and calls[0][0] < until:
            self.now, _, call, subject = heapq.heappop(calls)
            call(subject)
        self.now = until
