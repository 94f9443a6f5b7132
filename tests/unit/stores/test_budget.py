"""The pace that all requests to one store share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from agent.config.model import Budget as BudgetSpec
from agent.stores.budget import Budget, Demand, Priority, budget_for
from tests.rig.clock import JumpClock


class Requests:
    """Requests under a budget: who has begun, in order, and when; each ends when told to."""

    def __init__(self, budget: Budget, clock: JumpClock, group: asyncio.TaskGroup) -> None:
        self.budget, self._clock, self._group = budget, clock, group
        self.begun: list[str] = []
        self.begun_at: list[float] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, priority: Priority = Priority.READ, *, takes: float = 0.0) -> None:
        """A request that ends by itself after `takes` seconds; never, if that is infinite."""
        self._tasks[name] = self._group.create_task(self._send(name, priority, takes), name=name)

    def cancel(self, name: str) -> None:
        self._tasks[name].cancel()

    async def _send(self, name: str, priority: Priority, takes: float) -> None:
        async with self.budget.slot(priority):
            self.begun.append(name)
            self.begun_at.append(self._clock.now())
            await self._clock.sleep(takes)


Run = Callable[..., AbstractAsyncContextManager[Requests]]
FOREVER = 1e12


@pytest.fixture
def run(clock: JumpClock) -> Run:
    @asynccontextmanager
    async def running(
        *, per_second: float = 1000, burst: int = 1000, concurrent: int = 1000
    ) -> AsyncIterator[Requests]:
        budget = Budget(clock, per_second=per_second, burst=burst, concurrent=concurrent)
        async with asyncio.TaskGroup() as group:
            handing_out = group.create_task(budget.run())
            requests = Requests(budget, clock, group)
            yield requests
            handing_out.cancel()
            for name in list(requests._tasks):
                requests.cancel(name)

    return running


async def test_a_burst_goes_at_once_and_the_rest_by_the_rate(clock: JumpClock, run: Run) -> None:
    async with run(per_second=10, burst=5) as requests:
        started_at = clock.now()
        for number in range(25):
            requests.start(str(number))
        await clock.settle()
        assert len(requests.begun) == 5
        await clock.advance(1)
        assert len(requests.begun) in (14, 15)
        await clock.advance(1.1)
        assert len(requests.begun) == 25
        for place, at in enumerate(requests.begun_at[5:], start=1):
            assert at - started_at == pytest.approx(place / 10, abs=0.01)


async def test_quiet_fills_the_bucket_no_higher_than_the_burst(clock: JumpClock, run: Run) -> None:
    async with run(per_second=10, burst=5) as requests:
        await clock.advance(3600)
        for number in range(20):
            requests.start(str(number))
        await clock.settle()
        assert len(requests.begun) == 5


async def test_no_more_are_under_way_than_allowed(clock: JumpClock, run: Run) -> None:
    async with run(concurrent=3) as requests:
        for number in range(9):
            requests.start(str(number), takes=10)
        await clock.advance(1)
        assert len(requests.begun) == 3
        await clock.advance(10)
        assert len(requests.begun) == 6
        await clock.advance(10)
        assert len(requests.begun) == 9


async def test_logins_and_renewals_go_before_reads_and_those_before_revocations(
    clock: JumpClock, run: Run
) -> None:
    async with run(concurrent=1) as requests:
        requests.start("first", takes=1)
        await clock.settle()
        requests.start("revoke", Priority.REVOKE)
        requests.start("read 1", Priority.READ)
        requests.start("read 2", Priority.READ)
        requests.start("renew", Priority.RENEW)
        requests.start("login", Priority.LOGIN)
        await clock.advance(2)
        assert requests.begun == ["first", "login", "renew", "read 1", "read 2", "revoke"]


async def test_who_comes_later_does_not_overtake_those_who_wait(clock: JumpClock, run: Run) -> None:
    async with run(per_second=1, burst=1) as requests:
        for name in "abc":
            requests.start(name)
        await clock.advance(0.99)
        requests.start("late")
        await clock.advance(5)
        assert requests.begun == ["a", "b", "c", "late"]


async def test_a_waiter_that_is_cancelled_gives_its_place_back(clock: JumpClock, run: Run) -> None:
    async with run(concurrent=1) as requests:
        requests.start("first", takes=10)
        await clock.settle()
        for number in range(5):
            requests.start(f"gone {number}", takes=FOREVER)
        requests.start("last")
        await clock.settle()
        for number in range(5):
            requests.cancel(f"gone {number}")
        await clock.advance(11)
        assert requests.begun == ["first", "last"]


async def test_a_waiter_cancelled_in_the_moment_of_its_turn_gives_it_back(
    clock: JumpClock, run: Run
) -> None:
    async with run(concurrent=1) as requests:
        requests.start("first", takes=FOREVER)
        requests.start("gone", takes=FOREVER)
        requests.start("last")
        await clock.settle()
        granted = requests.budget._waiting[0][2]
        requests.cancel("first")
        while not granted.done():  # noqa: ASYNC110
            await asyncio.sleep(0)
        requests.cancel("gone")
        await clock.settle()
        assert requests.begun == ["first", "last"]


async def test_a_request_that_is_cancelled_under_way_frees_its_slot(
    clock: JumpClock, run: Run
) -> None:
    async with run(concurrent=1) as requests:
        requests.start("hangs", takes=FOREVER)
        requests.start("waits")
        await clock.settle()
        requests.cancel("hangs")
        await clock.settle()
        assert requests.begun == ["hangs", "waits"]


async def test_a_request_that_fails_frees_its_slot(clock: JumpClock, run: Run) -> None:
    async with run(concurrent=1) as requests:
        with pytest.raises(OSError, match="broken"):
            async with requests.budget.slot(Priority.READ):
                raise OSError("broken")
        requests.start("next")
        await clock.settle()
        assert requests.begun == ["next"]


async def test_the_budget_fits_the_secrets_where_it_is_not_configured(clock: JumpClock) -> None:
    budget = budget_for(BudgetSpec(), Demand(1000, 50.0), clock)
    assert (budget._per_second, budget._concurrent) == (100.0, 16)
    assert budget._burst >= 1000 + 10
    small = budget_for(BudgetSpec(), Demand(1, 0.1), clock)
    assert (small._per_second, small._burst) == (20.0, 40.0)


async def test_a_configured_budget_is_kept_to(clock: JumpClock) -> None:
    spec = BudgetSpec(per_second=2, burst=3, concurrent=4)
    budget = budget_for(spec, Demand(1000, 50.0), clock)
    assert (budget._per_second, budget._burst, budget._concurrent) == (2, 3, 4)
