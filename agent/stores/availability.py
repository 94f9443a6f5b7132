"""Whether a store can be had, found out once for all of its secrets.

While it can't, nobody sends requests of their own: one probe looks again, by one backoff whose
ceiling grows with the outage. A probe that succeeds lets requests through; only a request that
succeeds proves the store well and resets the backoff.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agent.core.backoff import Backoff
from agent.core.clock import Clock
from agent.core.errors import Outage, RateLimited, StoreError
from agent.core.events import Emit, StoreBack, StoreDown

SHORT_OUTAGE_CEILING = 2.7
"""Seconds between two looks at most, while an outage is young: back within three."""

CEILING_SHARE = 1 / 24
"""The ceiling's share of the time that the outage has lasted, after that."""

LONGEST_CEILING = 60.0

LEADERLESS_FOR = 600.0
"""Seconds for which it is remembered that a leader did not answer."""


class Availability:
    """Open: requests are worth sending. Closed: wait for `opened()`."""

    def __init__(
        self, store: str, clock: Clock, emit: Emit, on_change: Callable[[], None] = lambda: None
    ) -> None:
        """`on_change` is called when the store opens or closes, or is closed for another reason."""
        self._store = store
        self._on_change = on_change
        self._clock = clock
        self._emit = emit
        self._backoff = Backoff(first=1.0, ceiling=SHORT_OUTAGE_CEILING)
        self._open = asyncio.Event()
        self._open.set()
        self._closed = asyncio.Event()
        self._succeeded_at = clock.now()
        self._failing_since: float | None = None
        self._opened_at = clock.now()
        self._quiet_until = 0.0
        self._leaderless_since = self._leaderless_at = -LEADERLESS_FOR
        self.error: Outage | None = None

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    async def opened(self) -> None:
        """Return once requests are worth sending."""
        await self._clock.wait(self._open)

    def succeeded(self) -> None:
        """A request was answered."""
        self._succeeded_at = self._clock.now()
        self._let_through()
        if self._failing_since is not None:
            down_seconds = self._opened_at - self._failing_since
            self._failing_since, self.error = None, None
            self._backoff.reset()
            self._emit(StoreBack(store=self._store, down_seconds=down_seconds))

    def failed(self, error: Outage, sent_at: float) -> bool:
        """A request got no answer. True if that closes the store, False if it is about the path.

        A store that has answered others since this request was sent can be had.
        """
        is_limited = isinstance(error, RateLimited)
        answers_others = self._succeeded_at > self._since(error, sent_at)
        if not is_limited and (not error.is_store_wide or answers_others):
            return False
        if self._failing_since is None:
            self._failing_since = self._clock.now()
            self._emit(StoreDown(store=self._store, reason=error.reason))
        self._open.clear()
        self._closed.set()
        self._note(error)
        return True

    async def run(self, probe: Callable[[], Awaitable[object]]) -> None:
        """Look again while closed; never returns. `probe` raises Outage if it gets no answer.

        Delays count from the start of the last look: one that hangs costs no time on top.
        """
        while True:
            await self._clock.wait(self._closed)
            look_at = self._clock.now() + self._pause()
            while not self.is_open:
                await self._quiet(look_at)
                looked_at = self._clock.now()
                if not self.is_open:
                    await self._try(probe)
                look_at = looked_at + self._pause()

    async def _quiet(self, look_at: float) -> None:
        """Until it is time to look; a store that asks for more quiet meanwhile gets it."""
        while (left := max(look_at, self._quiet_until) - self._clock.now()) > 0:
            await self._clock.sleep(left)

    async def _try(self, probe: Callable[[], Awaitable[object]]) -> None:
        try:
            await probe()
        except Outage as error:
            self._note(error)
        except StoreError:
            self._let_through()  # an answer, if not a friendly one
        else:
            self._let_through()

    def _since(self, error: Outage, sent_at: float) -> float:
        """From when on an answer to others tells that this failure is not the whole store's.

        A standby may read by itself while it has no leader to write: one that has answered since
        the leader was first missed is not closed for the same reason over and over.
        """
        if not error.is_of_leader:
            return sent_at
        now, before = self._clock.now(), self._leaderless_at
        self._leaderless_at = now
        if before < now - LEADERLESS_FOR:
            self._leaderless_since = now
        return min(sent_at, self._leaderless_since)

    def _note(self, error: Outage) -> None:
        is_news = self.error is None or self.error.reason != error.reason
        self.error = error
        if isinstance(error, RateLimited):
            jitter = self._backoff.draw() * self._backoff.first
            quiet_until = self._clock.now() + error.retry_after + jitter
            self._quiet_until = max(self._quiet_until, quiet_until)
        if is_news:
            self._on_change()

    def _pause(self) -> float:
        lasted = 0.0 if self._failing_since is None else self._clock.now() - self._failing_since
        self._backoff.ceiling = min(
            LONGEST_CEILING, max(SHORT_OUTAGE_CEILING, lasted * CEILING_SHARE)
        )
        return self._backoff.delay()

    def _let_through(self) -> None:
        if not self._open.is_set():
            self._opened_at = self._clock.now()
            self._closed.clear()
            self._open.set()
            self._on_change()
