"""The coroutine that owns one secret: fetch, record, sleep until due, renew or read again.

Error policy: while the whole store can't be had, or nobody is logged in, nothing is asked; the
store says when to look again. Any other failure is this secret's own and backs off here. The last
good value stays in the ledger, stale, until it expires. A value that an app has refused makes room
for the one before it, and another is tried after a pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from msgspec.structs import replace

from agent.config.model import SecretEntry
from agent.core.backoff import Backoff
from agent.core.book import KeptSecret
from agent.core.clock import Clock
from agent.core.errors import Denied, Invalid, Missing, NotLoggedIn, Outage, StoreError
from agent.core.events import Emit, LeaseLost, LeaseRenewed, SecretRead, SecretStale
from agent.core.lease import Act, Due, Lease, Policy, not_before
from agent.core.secret import Reading
from agent.ledger import Ledger
from agent.stores.base import ReadRequest, Store
from agent.watcher.former import Seal
from agent.watcher.holding import Holding
from agent.watcher.page import Page
from agent.watcher.pauses import LONGEST_PAUSE, LONGEST_PAUSE_AFTER_REFUSAL, longest_pause
from agent.watcher.reads import Reads
from agent.watcher.refusal import Reports

LOOK_AT_WALL_EVERY = 60.0
"""Seconds between two looks at a certificate's end: wall clocks are set without telling."""

T = TypeVar("T")


async def no_seal() -> None:
    """Where nothing is kept for the next run."""


class Watcher:
    """Keeps one entry of the ledger fresh. `draw` is this secret's lot for jitter.

    `seal` is awaited before whatever may make a lease or takes one away: what is known then
    outlives this process.
    """

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
        seal: Seal = no_seal,
    ) -> None:
        self.name, self.spec, self.store = name, spec, store
        self._ledger, self._clock, self._emit, self._draw = ledger, clock, emit, draw
        self._seal = seal
        self._page = Page(name, spec, store, ledger, clock, emit, seal)
        self._group: asyncio.TaskGroup | None = None
        self._tending: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._backoff = Backoff(ceiling=LONGEST_PAUSE)
        self._wish_backoff = Backoff(ceiling=LONGEST_PAUSE_AFTER_REFUSAL)
        self._asked_at: float | None = None
        self._reads = Reads()
        self._retry_at = self._wish_at = 0.0
        self._is_wanted, self._is_minting = True, False
        self._reports = Reports()
        self.update(spec, headroom)

    def update(self, spec: SecretEntry, headroom: float) -> None:
        """Another policy for the same place."""
        self.spec = spec
        self._request = ReadRequest(spec.path, spec.data, spec.version)
        policy = Policy(spec.refresh_every, spec.renew_at, headroom, self._draw)
        self._page.update(spec, policy)
        self.look_again()

    def refresh(self) -> None:
        """Read again now, or as soon as the store may be asked again."""
        self._is_wanted, self._retry_at, self._wish_at = True, 0.0, 0.0
        self.look_again()

    async def read_anew(self, deadline: float) -> bool:
        """`refresh`, and whether it was done, well or not, by the deadline (an instant)."""
        begun = self._reads.begun
        self.refresh()
        while self._reads.done <= begun and self.store.trouble is None:
            if not await self._clock.wait(self._reads.next_done, deadline):
                break
        return self._reads.done > begun

    def refused(self, version: str) -> bool:
        """An app says that this version does not work; True if that is news of the current one.

        It is read again: what has a lease is replaced, and retired once nobody holds it.
        """
        at = self._reports.heed(version, self._page.current, self._clock.now())
        if at is not None:
            self._is_wanted, self._wish_at = True, max(self._wish_at, at)
            self.look_again()
        return at is not None

    def look_again(self) -> None:
        """Something that this watcher reckons with has changed."""
        self._page.outlook.look_again()
        self._page.expire()
        self._wake.set()
        self._page.former.look_again()

    async def run(self) -> None:
        with self._listening():
            async with asyncio.TaskGroup() as self._group:
                self._heed_consumers()
                self._tend_former()
                while True:
                    self._wake.clear()
                    self._page.expire()
                    await self._act()

    async def leave(self) -> None:
        """After `run` was cancelled: watch no more, but keep alive what consumers still hold.

        Returns when the last of it is retired.
        """
        self._page.let_go()
        with self._listening():
            await self._page.former.run()

    async def give_up(self) -> list[Lease]:
        """After `run` was cancelled: revoke everything now, whoever holds it.

        The leases that could not be revoked; they stay in `kept` as they were.
        """
        return await self._page.give_up()

    # --- from one run to the next -------------------------------------------------------------

    @property
    def place(self) -> str:
        """The fingerprint of what is asked, and of whom."""
        return self._page.place

    def kept(self) -> KeptSecret:
        """What the next run needs to go on with this secret."""
        return self._page.kept(is_minting=self._is_minting)

    def restore(self, kept: KeptSecret) -> None:
        """Go on with what the run before has kept, before `run`; the store is restored already.

        Consumers have to hold what they use of it before `run`, or it is retired.
        """
        self._is_wanted = not self._page.restore(kept)

    # --- who else has a say -------------------------------------------------------------------

    @contextmanager
    def _listening(self) -> Iterator[None]:
        unsubscribe = self.store.subscribe(self)
        try:
            with self._ledger.on_release(self.name, self._heed_consumers):
                yield
        finally:
            unsubscribe()

    def _heed_consumers(self) -> None:
        """One has let go of a revision, or rejected it."""
        if self._page.heed_consumers():
            self._is_wanted = False  # another value is tried by and by, unless it is wished anew
            self._wake.set()
            self._tend_former()
        self._page.former.look_again()

    def _tend_former(self) -> None:
        """Values that were replaced are cared for beside this coroutine, and never delay it."""
        is_tended = self._tending is not None and not self._tending.done()
        if self._group is not None and self._page.former and not is_tended:
            name = f"secret {self.name}: former values"
            self._tending = self._group.create_task(self._page.former.run(), name=name)

    # --- what is due --------------------------------------------------------------------------

    async def _act(self) -> None:
        """Do what is due, or wait until something is."""
        self._page.prove()
        planned, current = self._next(), self._page.current
        if planned.at > self._clock.now():
            await self._wait(planned.at)
        elif (trouble := self.store.trouble) is not None:
            self._ledger.stale(self.name, trouble.reason, trouble.kind)
            await self._wait(None)
        elif planned.act is Act.RENEW and current and current.reading.lease:
            await self._renew(current, current.reading.lease)
        else:
            self._reads.begin()
            await self._read()
            self._reads.end()

    def _next(self) -> Due:
        """What the value itself wants, or a read that was wished for: whichever is sooner."""
        wish_at = max(self._clock.now(), self._wish_at)
        wish = not_before(Due(wish_at, Act.READ), self._asked_at)
        if self._page.current is None:
            return replace(wish, at=max(wish.at, self._retry_at))
        own = self._own_due(self._page.current)
        own = replace(own, at=max(own.at, self._retry_at))
        return wish if self._is_wanted and wish.at < own.at else own

    def _own_due(self, current: Holding) -> Due:
        """What the value wants; while a newer one is refused, another attempt in its time."""
        own = self._page.outlook.due(current, self._asked_at)
        if not self._page.is_pausing or self._page.outlook.is_over(current):
            return own
        attempt_at = max(self._page.attempt_at(), self._wish_at)
        attempt = not_before(Due(attempt_at, Act.READ), self._asked_at)
        return own if own.act is Act.RENEW and own.at < attempt.at else attempt

    async def _wait(self, until: float | None) -> None:
        """Until that instant, until the value's end, or until something is new."""
        self._ledger.next_due(self.name, until)
        current = self._page.current
        if current is not None:
            self._ledger.good_until(self.name, self._page.outlook.expires_at(current))
        looks = [until, self._page.end_of_current()]
        if current is not None and current.reading.not_after is not None:
            looks.append(self._clock.now() + LOOK_AT_WALL_EVERY)
        deadline = min((at for at in looks if at is not None), default=None)
        await self._clock.wait(self._wake, deadline)

    async def _asked(self, request: Awaitable[T]) -> T:
        """The store's answer; a value that comes to its end while we wait is said to."""
        ends_at = self._page.end_of_current()
        if ends_at is None or self._group is None:
            return await request
        expiring = self._group.create_task(self._expire_at(ends_at), name=f"{self.name}: its end")
        try:
            return await request
        finally:
            expiring.cancel()

    async def _expire_at(self, ends_at: float) -> None:
        await self._clock.sleep(ends_at - self._clock.now())
        self._page.expire()

    # --- acts ---------------------------------------------------------------------------------

    async def _read(self) -> None:
        is_due = self._is_due()
        asked_at = self._asked_at = self._clock.now()
        was_wanted, self._is_wanted = self._is_wanted, False  # a wish from now on is a new one
        try:
            reading = await self._asked(self._reading())
        except StoreError as error:
            self._is_wanted |= was_wanted
            self._read_failed(error, is_due)
            return
        self._succeeded()
        self._wish_backoff.reset()
        is_changed = self._page.arrived(reading, asked_at)
        self._is_minting = False
        self._tend_former()
        ttl = None if reading.lease is None else reading.lease.term.lasts
        self._emit(
            SecretRead(
                secret=self.name, version=reading.version, is_changed=is_changed, ttl_seconds=ttl
            )
        )

    async def _reading(self) -> Reading:
        """What the store answers. Cancelled in between, a lease may be there that nobody knows."""
        self._is_minting = self._page.outlook.may_mint(self._page.current)
        if self._is_minting:
            await self._seal()
        try:
            return await self.store.read(self._request)
        except StoreError:
            self._is_minting = False
            raise

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
            self._page.renewed(holding, renewed, asked_at)
            self._emit(LeaseRenewed(secret=self.name, ttl_seconds=renewed.term.lasts))

    def _renewal_refused(self, holding: Holding, error: StoreError) -> None:
        """The lease is gone, or may not be renewed: a fresh value is had at once.

        One of the run before that may not be renewed has its time all the same.
        """
        holding.can_renew = False
        holding.is_lost = not isinstance(error, Denied)
        if holding is not self._page.current or (holding.is_cached and not holding.is_lost):
            return
        self._asked_at = None
        reason = error.reason if holding.is_lost else f"it may not be renewed: {error.reason}"
        self._emit(LeaseLost(secret=self.name, reason=reason))

    def _is_due(self) -> bool:
        """The value itself wants to be replaced, or there is none."""
        current = self._page.current
        if current is None or self._page.outlook.is_over(current):
            return True
        planned = self._page.outlook.due(current, self._asked_at)
        return not self._page.is_pausing and planned.at <= self._clock.now()

    def _read_failed(self, error: StoreError, is_due: bool) -> None:
        """A read that was only wished for, or an attempt, holds up no renewal of what we have."""
        if isinstance(error, Denied | Missing):
            self._page.denied()
        if is_due:
            self._retry_at = self._wish_at = self._failed(error, self._backoff)
        else:
            self._wish_at = self._failed(error, self._wish_backoff)

    def _failed(self, error: StoreError, backoff: Backoff) -> float:
        """When to try again; for what is the store's own trouble, as soon as that is over."""
        self._ledger.stale(self.name, error.reason, error.kind)
        if isinstance(error, NotLoggedIn) or (isinstance(error, Outage) and error.is_store_wide):
            return 0.0
        current = self._page.current
        lease = None if current is None else current.reading.lease
        backoff.ceiling = longest_pause(error, lease, self._clock.now())
        pause = backoff.delay()
        self._emit(
            SecretStale(secret=self.name, reason=error.reason, kind=error.kind, retry_after=pause)
        )
        return self._clock.now() + pause

    def _succeeded(self) -> None:
        self._backoff.reset()
        self._retry_at = 0.0
