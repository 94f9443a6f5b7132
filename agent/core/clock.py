"""The only place that knows what time it is.

Instants are seconds of CLOCK_BOOTTIME, which goes on while the machine is suspended; the event
loop's own clock (CLOCK_MONOTONIC) stands still then, so every wait looks again at least once in
`LOOK_AGAIN_AFTER` seconds. Wall time is for people and certificates only.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

LOOK_AGAIN_AFTER = 60.0


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

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        deadline = self.now() + seconds
        while (left := deadline - self.now()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, LOOK_AGAIN_AFTER))

    async def wait(self, event: asyncio.Event, deadline: float | None = None) -> bool:
        while not event.is_set():
            left = LOOK_AGAIN_AFTER if deadline is None else deadline - self.now()
            if left <= 0:
                return False
            try:
                async with asyncio.timeout(min(left, LOOK_AGAIN_AFTER)):
                    await event.wait()
            except TimeoutError:
                continue
        return True


def monotonic_usec() -> int:
    """CLOCK_MONOTONIC in microseconds, by which systemd tells new messages from old ones."""
    return time.monotonic_ns() // 1000


def wall_at(clock: Clock, instant: float) -> float:
    """The wall time of an instant of `now`, as seconds since the epoch."""
    return clock.wall() + instant - clock.now()


def rfc3339(wall: float) -> str:
    """`2026-11-24T10:00:00Z`, the form in which people and programs are told a wall time."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
