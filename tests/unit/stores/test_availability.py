"""Whether a store can be had: one who looks, for all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent.core.errors import Denied, Outage, RateLimited, StoreError
from agent.core.events import Event, StoreBack, StoreDown
from agent.stores.availability import LONGEST_CEILING, SHORT_OUTAGE_CEILING, Availability
from tests.rig.clock import JumpClock

WHERE = ("GET", "vault", "/v1/secret/app")
DOWN = Outage(*WHERE, "can't connect")


class Watch:
    """An availability at work, with a probe that fails as told."""

    def __init__(self, clock: JumpClock) -> None:
        self.clock = clock
        self.events: list[Event] = []
        self.changes = 0
        self.probes: list[float] = []
        self.error: StoreError | None = DOWN
        self.takes = 0.0
        self.availability = Availability("vault", clock, self.events.append, self._changed)

    def fails(self, error: Outage = DOWN) -> bool:
        """A request sent now fails."""
        return self.availability.failed(error, self.clock.now())

    def kinds(self) -> list[type[Event]]:
        return [type(event) for event in self.events]

    async def probe(self) -> None:
        self.probes.append(self.clock.now())
        await self.clock.sleep(self.takes)
        if self.error is not None:
            raise self.error

    def _changed(self) -> None:
        self.changes += 1


@asynccontextmanager
async def watching(clock: JumpClock) -> AsyncIterator[Watch]:
    watch = Watch(clock)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(watch.availability.run(watch.probe))
        yield watch
        running.cancel()


async def test_nobody_looks_while_all_is_well(clock: JumpClock) -> None:
    async with watching(clock) as watch:
        watch.availability.succeeded()
        await clock.advance(3600)
        assert watch.probes == [] and watch.events == [] and watch.availability.is_open


async def test_one_looks_for_all_and_says_it_once(clock: JumpClock) -> None:
    async with watching(clock) as watch, asyncio.TaskGroup() as group:
        for _ in range(100):
            assert watch.fails()
            group.create_task(watch.availability.opened())
        await clock.advance(10)
        assert watch.kinds() == [StoreDown]
        assert not watch.availability.is_open
        assert 2 <= len(watch.probes) <= 40
        watch.error = None
        await clock.advance(3)
        assert watch.availability.is_open and watch.changes == 2, "down, and up again"


@pytest.mark.parametrize("takes", [0.0, 2.0])
async def test_a_store_that_is_back_is_found_within_three_seconds(
    clock: JumpClock, takes: float
) -> None:
    """However long a look at a dead one hangs, and in fewer than sixty looks a minute."""
    for _ in range(20):
        async with watching(clock) as watch:
            watch.takes = takes
            watch.fails()
            await clock.advance(60)
            assert len(watch.probes) < 60
            await clock.run_until(lambda: len(watch.probes) > 0, within=1)
            watch.error, watch.takes = None, 0.0
            await clock.advance(3)
            assert watch.availability.is_open


async def test_the_ceiling_grows_with_the_age_of_the_outage(clock: JumpClock) -> None:
    async with watching(clock) as watch:
        watch.fails()
        await clock.advance(86_400)
        gaps = [b - a for a, b in zip(watch.probes, watch.probes[1:], strict=False)]
        assert max(gaps[:20]) <= SHORT_OUTAGE_CEILING
        assert max(gaps[-200:]) > 30
        assert max(gaps) <= LONGEST_CEILING
        assert min(gaps) >= 0.1 - 1e-6
        assert len(gaps) < 86_400 / 20


async def test_a_probe_lets_through_and_only_a_request_proves_it_well(clock: JumpClock) -> None:
    async with watching(clock) as watch:
        watch.fails()
        watch.error = None
        await clock.advance(3)
        assert watch.availability.is_open and watch.kinds() == [StoreDown]
        watch.fails()
        assert not watch.availability.is_open and watch.kinds() == [StoreDown]
        await clock.advance(3)
        watch.availability.succeeded()
        assert watch.kinds() == [StoreDown, StoreBack]


async def test_a_store_that_answers_probes_only_is_tried_less_and_less(clock: JumpClock) -> None:
    """Health is fine, every request fails: no loop of both."""
    async with watching(clock) as watch:
        watch.error = None
        watch.fails()
        for _ in range(9_000):
            await clock.advance(0.4)
            if watch.availability.is_open:
                watch.fails()
        assert len(watch.probes) < 400


async def test_how_long_it_was_down_ends_with_its_return_not_with_the_next_request(
    clock: JumpClock,
) -> None:
    async with watching(clock) as watch:
        watch.fails()
        await clock.advance(30)
        watch.error = None
        await clock.advance(600)
        watch.availability.succeeded()
        (back,) = [event for event in watch.events if isinstance(event, StoreBack)]
        assert 30 <= back.down_seconds <= 33


async def test_retry_after_is_honoured(clock: JumpClock) -> None:
    async with watching(clock) as watch:
        watch.error = None
        watch.fails(RateLimited(*WHERE, "asked for quiet (429)", retry_after=30.0))
        await clock.advance(29.9)
        assert watch.probes == [] and not watch.availability.is_open
        await clock.advance(4)
        assert watch.availability.is_open


async def test_retry_after_that_comes_later_makes_it_longer(clock: JumpClock) -> None:
    async with watching(clock) as watch:
        watch.error = None
        watch.fails(RateLimited(*WHERE, "asked for quiet (429)", retry_after=2.0))
        await clock.advance(1)
        watch.fails(RateLimited(*WHERE, "asked for quiet (429)", retry_after=60.0))
        await clock.advance(59)
        assert watch.probes == []
        await clock.advance(5)
        assert watch.availability.is_open


async def test_a_probe_that_is_asked_for_quiet_gives_it(clock: JumpClock) -> None:
    async with watching(clock) as watch:
        watch.error = RateLimited(*WHERE, "asked for quiet (429)", retry_after=100.0)
        watch.fails()
        await clock.advance(90)
        assert len(watch.probes) == 1


async def test_any_answer_to_a_probe_is_an_answer(clock: JumpClock) -> None:
    async with watching(clock) as watch:
        watch.error = Denied(*WHERE, "permission denied (403)")
        watch.fails()
        await clock.advance(3)
        assert watch.availability.is_open


async def test_trouble_with_one_path_is_not_the_stores(clock: JumpClock) -> None:
    async with watching(clock) as watch:
        assert not watch.fails(Outage(*WHERE, "status 500", is_store_wide=False))
        assert watch.availability.is_open


LEADERLESS = Outage(*WHERE, "the leader that it points to: can't connect", is_of_leader=True)


async def test_a_standby_that_reads_without_its_leader_is_not_closed_over_and_over(
    clock: JumpClock,
) -> None:
    async with watching(clock) as watch:
        watch.error = None
        watch.fails(LEADERLESS)
        await clock.advance(3)
        watch.availability.succeeded()
        for _ in range(20):
            await clock.advance(1)
            assert not watch.fails(LEADERLESS)  # whether or not others were answered in between
        assert watch.kinds() == [StoreDown, StoreBack]


async def test_without_its_leader_a_standby_that_answers_nobody_is_closed(
    clock: JumpClock,
) -> None:
    async with watching(clock) as watch:
        watch.error = None
        for _ in range(5):
            assert watch.fails(LEADERLESS)
            await clock.advance(3)
        watch.availability.succeeded()
        await clock.advance(3600)
        assert watch.fails(LEADERLESS)  # another day, another leader


async def test_a_store_that_has_answered_others_since_can_be_had(clock: JumpClock) -> None:
    """One request hangs among many that don't: it is about that path."""
    async with watching(clock) as watch:
        sent_at = clock.now()
        await clock.advance(5)
        watch.availability.succeeded()
        await clock.advance(5)
        assert not watch.availability.failed(Outage(*WHERE, "no answer in time"), sent_at)
        assert watch.availability.is_open
