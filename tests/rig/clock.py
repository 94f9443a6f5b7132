"""A clock that stands still until it is told to go on, and then jumps from deadline to deadline."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, ParamSpec, TypeVar

START = 8_640_017.39
WALL_START = 1_764_003_127.61
LONGEST_THREAD_CALL = 1.0

P = ParamSpec("P")
T = TypeVar("T")


class CountedThreads(ThreadPoolExecutor):
    """The loop's threads, which can tell whether `asyncio.to_thread` calls are under way.

    A call that a wait has once been given up for (a watch that never ends) counts no more.
    """

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="counted")
        self._at_work: set[Future[Any]] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        call = super().submit(fn, *args, **kwargs)
        self._at_work.add(call)
        loop = asyncio.get_running_loop()

        def heard_of(done: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._at_work.discard, done)

        call.add_done_callback(heard_of)  # a call is over when the loop hears of it, not before
        return call

    def at_work(self) -> set[Future[Any]]:
        """The calls whose end the loop has not heard of."""
        return self._at_work.copy()

    def give_up(self, calls: set[Future[Any]]) -> None:
        """Count these calls no more."""
        self._at_work -= calls


class JumpClock:
    """`agent.core.clock.Clock` for tests. Make it inside the loop in which it is used.

    `idle_seconds` is real time given to sockets and processes before each jump; 0 where a test has
    neither. Threads of `asyncio.to_thread` are waited for in any case.
    """

    def __init__(self, *, idle_seconds: float = 0.0, rounds: int = 30) -> None:
        self.idle_seconds = idle_seconds
        self.rounds = rounds
        self._now = START
        self._wall_offset = WALL_START - START
        self._deadlines: list[tuple[float, int]] = []
        self._sleepers: dict[int, Callable[[], object]] = {}
        self._numbers = count()
        self._threads = CountedThreads()
        self._adopted: asyncio.AbstractEventLoop | None = None
        with suppress(RuntimeError):
            self._adopt_loop()

    # --- the contract of core.clock -----------------------------------------------------------

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + self._wall_offset

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        due = asyncio.Event()
        with self._sleeper(self._now + seconds, due.set):
            await due.wait()

    async def wait(self, event: asyncio.Event, deadline: float | None = None) -> bool:
        if event.is_set() or deadline is None:
            return await event.wait()
        if deadline <= self._now:
            return False
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as limit:
                with self._sleeper(deadline, lambda: limit.reschedule(loop.time())):
                    await event.wait()
        except TimeoutError:
            return event.is_set()
        return True

    # --- for tests ----------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """The earliest instant that somebody waits for."""
        while self._deadlines and self._deadlines[0][1] not in self._sleepers:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: every deadline on the way in its turn, then settled."""
        await self._step_until(self._now + seconds, lambda: False)

    async def run_until(self, predicate: Callable[[], object], *, within: float) -> None:
        """Let time pass until `predicate()`; AssertionError after `within` of these seconds."""
        end = self._now + within
        await self._step_until(end, predicate)
        assert predicate(), f"not so within {within:g} s of the test clock: {predicate}"

    async def settle(self) -> None:
        """Let everything that can run do so, until all wait for time or for the outside."""
        self._adopt_loop()
        await self._run_tasks()
        while calls := self._threads.at_work():
            if not await self._finished(calls):
                self._threads.give_up(calls)
            await self._run_tasks()
        if self.idle_seconds:
            await asyncio.sleep(self.idle_seconds)
            await self._run_tasks()

    def jump_wall(self, seconds: float) -> None:
        """Somebody sets the wall clock; `now` does not notice."""
        self._wall_offset += seconds

    async def suspend(self, seconds: float) -> None:
        """The machine sleeps: time passes at once, and those who are late wake together."""
        await self.settle()
        self._now += seconds
        self._wake_due()
        await self.settle()

    # --- inside -------------------------------------------------------------------------------

    async def _step_until(self, end: float, predicate: Callable[[], object]) -> None:
        await self.settle()
        while not predicate():
            deadline = self.next_deadline()
            if deadline is None or deadline > end:
                self._now = max(self._now, end)
                break
            self._now = max(self._now, deadline)
            self._wake_due()
            await self.settle()

    def _wake_due(self) -> None:
        while (deadline := self.next_deadline()) is not None and deadline <= self._now:
            _, number = heapq.heappop(self._deadlines)
            self._sleepers.pop(number)()

    async def _run_tasks(self) -> None:
        for _ in range(self.rounds):
            await asyncio.sleep(0)

    async def _finished(self, calls: set[Future[Any]]) -> bool:
        """Wait for calls on threads, for LONGEST_THREAD_CALL at most."""
        wrapped = [asyncio.wrap_future(call) for call in calls]
        for each in wrapped:
            each.add_done_callback(lambda done: done.cancelled() or done.exception())
        _, pending = await asyncio.wait(wrapped, timeout=LONGEST_THREAD_CALL)
        return not pending

    def _adopt_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._adopted is not loop:
            loop.set_default_executor(self._threads)
            self._adopted = loop

    @contextmanager
    def _sleeper(self, deadline: float, wake: Callable[[], object]) -> Iterator[None]:
        number = next(self._numbers)
        self._sleepers[number] = wake
        heapq.heappush(self._deadlines, (deadline, number))
        try:
            yield
        finally:
            self._sleepers.pop(number, None)
