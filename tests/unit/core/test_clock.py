"""The machine's clocks: short real times, and a machine that was suspended."""

from __future__ import annotations

import asyncio

import pytest

from agent.core import clock as clock_module
from agent.core.clock import SystemClock, rfc3339, wall_at


class SuspendedMachine(SystemClock):
    """Its clock has gone on by `slept` seconds without the loop noticing."""

    slept = 0.0

    def now(self) -> float:
        return super().now() + self.slept


async def test_a_wait_ends_with_the_event_or_at_the_deadline() -> None:
    clock, event = SystemClock(), asyncio.Event()
    assert not await clock.wait(event, clock.now() + 0.02)
    asyncio.get_running_loop().call_later(0.02, event.set)
    assert await clock.wait(event, clock.now() + 10)
    assert await clock.wait(event)


async def test_a_deadline_that_has_passed_is_no_wait_at_all() -> None:
    clock, event = SystemClock(), asyncio.Event()
    assert not await clock.wait(event, clock.now() - 1)
    event.set()
    assert await clock.wait(event, clock.now() - 1)


async def test_sleep_is_not_shorter_than_asked_for() -> None:
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(0.03)
    await clock.sleep(-1)
    assert clock.now() - before >= 0.03


async def test_whoever_is_late_after_a_suspension_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock_module, "LOOK_AGAIN_AFTER", 0.03)
    clock = SuspendedMachine()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        late = group.create_task(clock.sleep(3600))
        later = group.create_task(clock.sleep(7200))
        await clock.sleep(0.01)
        clock.slept = 3700
        await late
        assert not later.done()
        later.cancel()


async def test_nothing_is_left_of_a_wait_that_was_cancelled() -> None:
    clock = SystemClock()
    sleeping = asyncio.get_running_loop().create_task(clock.sleep(3600))
    await asyncio.sleep(0)
    sleeping.cancel()
    await asyncio.wait([sleeping])
    assert clock._look is None, "no timer keeps an idle agent awake"


def test_wall_times_are_told_in_rfc3339() -> None:
    clock = SystemClock()
    assert rfc3339(1_764_000_000.7) == "2025-11-24T16:00:00Z"
    assert wall_at(clock, clock.now() + 60) == pytest.approx(clock.wall() + 60, abs=0.5)
