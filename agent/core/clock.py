"""The only place that knows what time it is.

Instants are seconds of CLOCK_BOOTTIME, which goes on while the machine is suspended. The event
loop's own clock (CLOCK_MONOTONIC) stands still then, so `SystemClock` looks once in
`LOOK_AGAIN_AFTER` seconds whether the two have come apart, and wakes all who wait for an instant.
Wall time is for people and certificates only.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

LOOK_AGAIN_AFTER = 5.0
"""Seconds after a suspension within which whoever is late is woken."""


class Clock(Protocol):
    """What the agent needs of time; the tests have one that jumps to the next deadline."""

    def now(self) -> float:
        """Seconds since boot, suspended time included."""

    def wall(self) -> float:
        """Seconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` have passed."""

    async def wait(self, event: asyncio.Event, deadline: float | None = None) -> bool:
        """Return True as soon as the event is set, False at `deadline` (an instant of `now`)."""


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Timeout] = set()
        self._look: asyncio.TimerHandle | None = None
        self._lag = self._lag_now()

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await self.wait(asyncio.Event(), self.now() + seconds)

    async def wait(self, event: asyncio.Event, deadline: float | None = None) -> bool:
        if deadline is None:
            return await event.wait()
        while not event.is_set():
            left = deadline - self.now()
            if left <= 0:
                return False
            try:
                async with asyncio.timeout(left) as timeout:
                    self._wake_after_suspension(timeout)
                    try:
                        await event.wait()
                    finally:
                        self._forget(timeout)
            except TimeoutError:
                continue
        return True

    def _wake_after_suspension(self, timeout: asyncio.Timeout) -> None:
        """Not a context manager: thousands wait, and each would keep one."""
        self._waiting.add(timeout)
        if self._look is None:
            self._look_later()

    def _forget(self, timeout: asyncio.Timeout) -> None:
        self._waiting.discard(timeout)
        if not self._waiting and self._look is not None:
            self._look.cancel()
            self._look = None

    def _look_later(self) -> None:
        self._lag = self._lag_now()
        self._look = asyncio.get_running_loop().call_later(LOOK_AGAIN_AFTER, self._look_now)

    def _look_now(self) -> None:
        """After a suspension every wait has been reckoned too long: all look again."""
        if self._lag_now() - self._lag > LOOK_AGAIN_AFTER / 10:
            loop = asyncio.get_running_loop()
            for timeout in self._waiting:
                if not timeout.expired():
                    timeout.reschedule(loop.time())
        self._look_later()

    def _lag_now(self) -> float:
        """How far the loop's clock is behind."""
        return self.now() - time.monotonic()


def monotonic_usec() -> int:
    """CLOCK_MONOTONIC in microseconds, by which systemd tells new messages from old ones."""
    return time.monotonic_ns() // 1000


def wall_at(clock: Clock, instant: float) -> float:
    """The wall time of an instant of `now`, as seconds since the epoch."""
    return clock.wall() + instant - clock.now()


def rfc3339(wall: float) -> str:
    """`2026-11-24T10:00:00Z`, the form in which people and programs are told a wall time."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
