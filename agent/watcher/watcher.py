"""The coroutine that owns one secret: fetch, record, sleep until due, renew or read again.

Error policy: while the whole store can't be had, or nobody is logged in, nothing is asked; the
store says when to look again. Any other failure is this secret's own and backs off here. The last
good value stays in the ledger, stale, until it expires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from agent.config.model import SecretEntry
from agent.core.backoff import Backoff
from agent.core.clock import LOOK_AGAIN_AFTER, Clock
from agent.core.errors import Denied, Invalid, Missing, NotLoggedIn, Outage, StoreError
from agent.core.events import (
    Emit,
    LeaseLost,
    LeaseRenewed,
    SecretExpired,
    SecretRead,
    SecretStale,
)
from agent.core.lease import Act, Due, Lease, Policy, not_before
from agent.ledger import Ledger, State
from agent.stores.base import ReadRequest, Store
from agent.watcher.former import FormerValues
from agent.watcher.holding import Holding, Outlook

LONGEST_PAUSE = 60.0
LONGEST_PAUSE_AFTER_REFUSAL = 300.0
NEVER = float("inf")


class Watcher:
    """Keeps one entry of the ledger fresh. `draw` is this secret's lot for jitter."""

    def __init__(
        self,
        name: str,
        spec: SecretEntry,
        store: Store,
        ledger: Ledger,
        *,
        clock: Clock,
        emit: Emit,
        headroom: float = 0.0,
        draw: float = 0.0,
    ) -> None:
        self.name, self.spec, self.store = name, spec, store
        self._ledger, self._clock, self._emit, self._draw = ledger, clock, emit, draw
        self._outlook = Outlook(store, clock, Policy())
        self._former = FormerValues(name, store, ledger, self._outlook, clock, emit)
        self._current: Holding | None = None
        self._wake = asyncio.Event()
        self._backoff = Backoff(ceiling=LONGEST_PAUSE)
        self._asked_at: float | None = None
        self._retry_at = 0.0
        self._is_wanted = True
        self.update(spec, headroom)

    def update(self, spec: SecretEntry, headroom: float) -> None:
        """Another policy for the same place."""
        self.spec = spec
        self._request = ReadRequest(spec.path, spec.data, spec.version)
        self._outlook.policy = Policy(spec.refresh_every, spec.renew_at, headroom, self._draw)
        self._former.is_revoking = spec.revoke == "on_retire"
        self._wake.set()

    def refresh(self) -> None:
        """Read again now."""
        self._is_wanted, self._retry_at = True, 0.0
        self._wake.set()

    def look_again(self) -> None:
        """Something that this watcher reckons with has changed."""
        self._wake.set()

    async def run(self) -> None:
        with self._listening():
            while True:
                self._wake.clear()
                if self.store.is_ready:
                    await self._former.tend()
                self._expire()
                await self._act()

    async def leave(self) -> None:
        """After `run` was cancelled: watch no more, but keep alive what consumers still hold.

        Returns when the last of it is retired.
        """
        self._former.holdings, self._current = self._holdings(), None
        with self._listening():
            while self._former.holdings:
                self._wake.clear()
                if self.store.is_ready:
                    await self._former.tend()
                if self._former.holdings:
                    next_at = self._former.next_at() if self.store.is_ready else NEVER
                    await self._clock.wait(self._wake, None if next_at == NEVER else next_at)

    async def give_up(self) -> None:
        """After `run` was cancelled: retire everything now, whoever holds it."""
        self._former.holdings, self._current = self._holdings(), None
        for holding in list(self._former.holdings):
            await self._former.retire(holding)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        unsubscribe = self.store.subscribe(self)
        try:
            with self._ledger.on_release(self.name, self.look_again):
                yield
        finally:
            unsubscribe()

    def _holdings(self) -> list[Holding]:
        return [*self._former.holdings, *([self._current] if self._current else [])]

    async def _act(self) -> None:
        """Do what is due, or wait until something is."""
        planned, now = self._next(), self._clock.now()
        if planned.at > now or not self.store.is_ready:
            self._ledger.next_due(self.name, planned.at)
            await self._clock.wait(self._wake, self._look_at(planned, now))
        elif planned.act is Act.RENEW and self._current and self._current.reading.lease:
            await self._renew(self._current, self._current.reading.lease)
        else:
            await self._read()

    def _next(self) -> Due:
        if self._current is None or self._is_wanted:
            planned = not_before(Due(self._clock.now(), Act.READ), self._asked_at)
        else:
            planned = self._outlook.due(self._current, self._asked_at)
        return replace(planned, at=max(planned.at, self._retry_at))

    def _look_at(self, planned: Due, now: float) -> float | None:
        """The next instant at which there is something to do, with or without the store."""
        ends_at = self._end_of_current()
        has_wall_end = self._current is not None and self._current.reading.not_after is not None
        at = min(
            planned.at if self.store.is_ready else NEVER,
            self._former.next_at() if self.store.is_ready else NEVER,
            NEVER if ends_at is None or ends_at <= now else ends_at,
            now + LOOK_AGAIN_AFTER if has_wall_end else NEVER,
        )
        return None if at == NEVER else at

    # --- how long the value is good -----------------------------------------------------------

    def _end_of_current(self) -> float | None:
        """When the current value is worth nothing any more; None if it never is, or is already."""
        entry = self._ledger.entry(self.name)
        if self._current is None or entry.state is State.EXPIRED:
            return None
        ends = self._outlook.expires_at(self._current)
        if entry.state is not State.STALE:
            return ends
        without_proof = self._current.read_at + self.spec.max_stale
        return without_proof if ends is None else min(ends, without_proof)

    def _expire(self) -> None:
        """Say so when the value has come to its end and could not be replaced."""
        ends_at, entry = self._end_of_current(), self._ledger.entry(self.name)
        if ends_at is None or ends_at > self._clock.now():
            return
        if entry.state is State.STALE or not self.store.is_ready:
            self._ledger.expired(self.name)
            self._emit(SecretExpired(secret=self.name))

    # --- acts ---------------------------------------------------------------------------------

    async def _read(self) -> None:
        asked_at = self._asked_at = self._clock.now()
        try:
            reading = await self.store.read(self._request)
        except StoreError as error:
            self._failed(error)
            return
        self._succeeded()
        self._is_wanted = False
        fresh = Holding(0, reading, asked_at)
        is_changed = self._ledger.record(self.name, reading, self._outlook.expires_at(fresh))
        fresh.revision = self._ledger.entry(self.name).revision
        if is_changed and self._current is not None:
            self._former.holdings.append(self._current)
        self._current = fresh
        ttl = None if reading.lease is None else reading.lease.term.lasts
        self._emit(
            SecretRead(
                secret=self.name, version=reading.version, is_changed=is_changed, ttl_seconds=ttl
            )
        )

    async def _renew(self, holding: Holding, lease: Lease) -> None:
        self._asked_at = self._clock.now()
        try:
            renewed = await self.store.renew(lease)
        except (Denied, Invalid, Missing) as error:
            self._renewal_refused(holding, error)
        except StoreError as error:
            self._failed(error)
        else:
            self._succeeded()
            holding.reading = replace(holding.reading, lease=renewed)
            expires_at = self._outlook.expires_at(holding)
            self._ledger.renewed(self.name, holding.reading, expires_at)
            self._emit(LeaseRenewed(secret=self.name, ttl_seconds=renewed.term.lasts))

    def _renewal_refused(self, holding: Holding, error: StoreError) -> None:
        """The lease is gone, or may not be renewed: a fresh value is had at once."""
        holding.can_renew = False
        holding.is_lost = not isinstance(error, Denied)
        self._asked_at = None
        self._emit(LeaseLost(secret=self.name, reason=error.reason))

    def _failed(self, error: StoreError) -> None:
        self._ledger.stale(self.name, error.reason, error.kind)
        if isinstance(error, NotLoggedIn) or (isinstance(error, Outage) and error.is_store_wide):
            return
        is_refusal = not isinstance(error, Outage)
        self._backoff.ceiling = LONGEST_PAUSE_AFTER_REFUSAL if is_refusal else LONGEST_PAUSE
        pause = self._backoff.delay()
        self._retry_at = self._clock.now() + pause
        self._emit(
            SecretStale(secret=self.name, reason=error.reason, kind=error.kind, retry_after=pause)
        )

    def _succeeded(self) -> None:
        self._backoff.reset()
        self._retry_at = 0.0
