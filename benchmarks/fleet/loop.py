"""An event loop whose time is simulated: whoever waits for time is woken at once, in order."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

from benchmarks.fleet.world import Call

WALL = 1_764_000_000.0


class _Jumping(selectors.SelectSelector):
    """Nothing comes from outside: to wait is to let the loop's time pass."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nobody for a time")
        self.passed += max(0.0, timeout)
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`time()` begins at 0 and passes as fast as there is work."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.passed


class LoopClock:
    """`agent.core.clock.Clock` by the running loop's time."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = asyncio.get_running_loop().time

    def wall(self) -> float:
        return WALL + self.now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    async def wait(self, event: asyncio.Event, deadline: float | None = None) -> bool:
        if event.is_set() or deadline is None:
            return await event.wait()
        try:
            async with asyncio.timeout_at(deadline):
                return await event.wait()
        except TimeoutError:
            return event.is_set()


class LoopWorld:
    """What the model vault needs of time, by the running loop's."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    @property
    def now(self) -> float:
        return self._loop.time()

    def at(self, instant: float, call: Call, subject: Any = None) -> None:
        self._loop.call_at(instant, call, subject)
