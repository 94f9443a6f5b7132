"""The coroutine that owns one secret: fetch, record, sleep until due, renew or read again.

Error policy: while the whole store can't be had, or nobody is logged in, nothing is asked; the
store says when to look again. Any other failure is this secret's own and backs off here. The last
good value stays in the ledger, stale, until it expires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from msgspec.structs import replace

from agent.config.model import SecretEntry
from agent.core.backoff import Backoff
from agent.core.clock import Clock
from agent.core.errors import Denied, Invalid, Missing, NotLoggedIn, Outage, StoreError
from agent.core.events import (
    Emit,
    LeaseLost,
    LeaseRenewed,
    SecretExpired,
    SecretRead,
    SecretStale,
)
from agent.core.lease import FLOOR_SECONDS, Act, Due, Lease, Policy, not_before
from agent.ledger import Ledger, State
from agent.stores.base import ReadRequest, Store
from agent.watcher.former import FormerValues
from agent.watcher.holding import Holding, Outlook

LONGEST_PAUSE = 60.0
LONGEST_PAUSE_AFTER_REFUSAL = 300.0

LOOK_AT_WALL_EVERY = 60.0
"""Seconds between two looks at a certificate's end: wall clocks are set without telling."""

T = TypeVar("T")


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
        self._group: asyncio.TaskGroup | None = None
        self._tending: asyncio.Task[None] | None = None
        self._current: Holding | None = None
        self._wake = asyncio.Event()
        self._backoff = Backoff(ceiling=LONGEST_PAUSE)
        self._wish_backoff = Backoff(ceiling=LONGEST_PAUSE_AFTER_REFUSAL)
        self._asked_at: float | None = None
        self._retry_at = self._wish_at = 0.0
        self._is_wanted = True
        self.update(spec, headroom)

    def update(self, spec: SecretEntry, headroom: float) -> None:
        """Another policy for the same place."""
        self.spec = spec
        self._request = ReadRequest(spec.path, spec.data, spec.version)
        self._outlook.policy = Policy(spec.refresh_every, spec.renew_at, headroom, self._draw)
        self._former.is_revoking = spec.revoke == "on_retire"
        self.look_again()

    def refresh(self) -> None:
        """Read again now, or as soon as the store may be asked again."""
        self._is_wanted, self._retry_at, self._wish_at = True, 0.0, 0.0
        self.look_again()

    def look_again(self) -> None:
        """Something that this watcher reckons with has changed."""
        self._wake.set()
        self._former.look_again()

    async def run(self) -> None:
        with self._listening():
            async with asyncio.TaskGroup() as self._group:
                self._tend_former()
                while True:
                    self._wake.clear()
                    self._expire()
                    await self._act()

    async def leave(self) -> None:
        """After `run` was cancelled: watch no more, but keep alive what consumers still hold.

        Returns when the last of it is retired.
        """
        self._let_go()
        with self._listening():
            await self._former.run()

    async def give_up(self) -> None:
        """After `run` was cancelled: retire everything now, whoever holds it."""
        self._let_go()
        await self._former.retire_all()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        unsubscribe = self.store.subscribe(self)
        try:
            with self._ledger.on_release(self.name, self._former.look_again):
                yield
        finally:
            unsubscribe()

    def _let_go(self) -> None:
        if self._current is not None:
            self._former.add(self._current)
            self._current = None

    def _tend_former(self) -> None:
        """Values that were replaced are cared for beside this coroutine, and never delay it."""
        is_tended = self._tending is not None and not self._tending.done()
        if self._group is not None and self._former and not is_tended:
            name = f"secret {self.name}: former values"
            self._tending = self._group.create_task(self._former.run(), name=name)

    # --- what is due --------------------------------------------------------------------------

    async def _act(self) -> None:
        """Do what is due, or wait until something is."""
        planned = self._next()
        if planned.at > self._clock.now():
            await self._wait(planned.at)
        elif (trouble := self.store.trouble) is not None:
            self._ledger.stale(self.name, trouble.reason, trouble.kind)
            await self._wait(None)
        elif planned.act is Act.RENEW and self._current and self._current.reading.lease:
            await self._renew(self._current, self._current.reading.lease)
        else:
            await self._read()

    def _next(self) -> Due:
        """What the value itself wants, or a read that was wished for: whichever is sooner."""
        wish_at = max(self._clock.now(), self._wish_at)
        wish = not_before(Due(wish_at, Act.READ), self._asked_at)
        if self._current is None:
            return replace(wish, at=max(wish.at, self._retry_at))
        own = self._outlook.due(self._current, self._asked_at)
        own = replace(own, at=max(own.at, self._retry_at))
        return wish if self._is_wanted and wish.at < own.at else own

    async def _wait(self, until: float | None) -> None:
        """Until that instant, until the value's end, or until something is new."""
        self._ledger.next_due(self.name, until)
        if self._current is not None:
            self._ledger.good_until(self.name, self._outlook.expires_at(self._current))
        looks = [until, self._end_of_current()]
        if self._current is not None and self._current.reading.not_after is not None:
            looks.append(self._clock.now() + LOOK_AT_WALL_EVERY)
        deadline = min((at for at in looks if at is not None), default=None)
        await self._clock.wait(self._wake, deadline)

    # --- how long the value is good -----------------------------------------------------------

    def _end_of_current(self) -> float | None:
        """When the current value is worth nothing any more; None if it never is, or is already."""
        entry = self._ledger.entry(self.name)
        if self._current is None or entry.state is State.EXPIRED:
            return None
        ends = self._outlook.expires_at(self._current)
        if entry.state is not State.STALE:
            return ends
        without_proof = self._current.proven_at + self.spec.max_stale
        return without_proof if ends is None else min(ends, without_proof)

    def _expire(self) -> None:
        """A value that has come to its end is not used any more.

        It is said where it should have been replaced before; a lease that was cut short is.
        """
        ends_at = self._end_of_current()
        if self._current is None or ends_at is None or ends_at > self._clock.now():
            return
        self._ledger.expired(self.name)
        if not self._outlook.is_cut_short(self._current):
            self._emit(SecretExpired(secret=self.name))

    async def _asked(self, request: Awaitable[T]) -> T:
        """The store's answer; a value that comes to its end while we wait is said to."""
        ends_at = self._end_of_current()
        if ends_at is None or self._group is None:
            return await request
        expiring = self._group.create_task(self._expire_at(ends_at), name=f"{self.name}: its end")
        try:
            return await request
        finally:
            expiring.cancel()

    async def _expire_at(self, ends_at: float) -> None:
        await self._clock.sleep(ends_at - self._clock.now())
        self._expire()

    # --- acts ---------------------------------------------------------------------------------

    async def _read(self) -> None:
        is_due = self._is_due()
        asked_at = self._asked_at = self._clock.now()
        was_wanted, self._is_wanted = self._is_wanted, False  # a wish from now on is a new one
        try:
            reading = await self._asked(self.store.read(self._request))
        except StoreError as error:
            self._is_wanted |= was_wanted
            self._read_failed(error, is_due)
            return
        self._succeeded()
        self._wish_backoff.reset()
        fresh = self._outlook.arrived(reading, asked_at)
        is_changed = self._ledger.record(self.name, reading, self._outlook.expires_at(fresh))
        fresh.revision = self._ledger.entry(self.name).revision
        if is_changed:
            self._let_go()
            self._tend_former()
        self._current = fresh
        ttl = None if reading.lease is None else reading.lease.term.lasts
        self._emit(
            SecretRead(
                secret=self.name, version=reading.version, is_changed=is_changed, ttl_seconds=ttl
            )
        )

    async def _renew(self, holding: Holding, lease: Lease) -> None:
        asked_at = self._asked_at = self._clock.now()
        try:
            renewed = await self._asked(self.store.renew(lease))
        except (Denied, Invalid, Missing) as error:
            self._renewal_refused(holding, error)
        except StoreError as error:
            self._retry_at = self._failed(error, self._backoff)
        else:
            self._succeeded()
            holding.reading, holding.proven_at = replace(holding.reading, lease=renewed), asked_at
            expires_at = self._outlook.expires_at(holding)
            self._ledger.renewed(self.name, holding.reading, expires_at)
            self._emit(LeaseRenewed(secret=self.name, ttl_seconds=renewed.term.lasts))

    def _renewal_refused(self, holding: Holding, error: StoreError) -> None:
        """The lease is gone, or may not be renewed: a fresh value is had at once."""
        holding.can_renew = False
        holding.is_lost = not isinstance(error, Denied)
        self._asked_at = None
        self._emit(LeaseLost(secret=self.name, reason=error.reason))

    def _is_due(self) -> bool:
        """The value itself wants to be replaced, or there is none."""
        if self._current is None:
            return True
        return self._outlook.due(self._current, self._asked_at).at <= self._clock.now()

    def _read_failed(self, error: StoreError, is_due: bool) -> None:
        """A read that was only wished for holds up no renewal of what we have."""
        if is_due:
            self._retry_at = self._wish_at = self._failed(error, self._backoff)
        else:
            self._wish_at = self._failed(error, self._wish_backoff)

    def _failed(self, error: StoreError, backoff: Backoff) -> float:
        """When to try again; for what is the store's own trouble, as soon as that is over."""
        self._ledger.stale(self.name, error.reason, error.kind)
        if isinstance(error, NotLoggedIn) or (isinstance(error, Outage) and error.is_store_wide):
            return 0.0
        backoff.ceiling = self._longest_pause(error)
        pause = backoff.delay()
        self._emit(
            SecretStale(secret=self.name, reason=error.reason, kind=error.kind, retry_after=pause)
        )
        return self._clock.now() + pause

    def _longest_pause(self, error: StoreError) -> float:
        """After a refusal long, after an outage shorter, and never past a lease's end."""
        if not isinstance(error, Outage):
            return LONGEST_PAUSE_AFTER_REFUSAL
        lease = None if self._current is None else self._current.reading.lease
        left = LONGEST_PAUSE if lease is None else lease.term.ends_at - self._clock.now()
        return min(LONGEST_PAUSE, max(left / 4, FLOOR_SECONDS)) if left > 0 else LONGEST_PAUSE

    def _succeeded(self) -> None:
        self._backoff.reset()
        self._retry_at = 0.0
