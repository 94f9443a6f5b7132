"""Values that were replaced: kept alive for the consumers that still hold them, then retired."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from agent.core.clock import Clock
from agent.core.errors import NotLoggedIn, Outage, StoreError
from agent.core.events import Emit, LeaseLeft, LeaseRevoked
from agent.core.lease import Lease
from agent.ledger import Ledger
from agent.stores.base import Store
from agent.watcher.holding import Holding, Outlook

RETRY_AFTER = 10.0
NEVER = float("inf")


class FormerValues:
    """The replaced values of one secret that have a lease, oldest first."""

    def __init__(
        self, name: str, store: Store, ledger: Ledger, outlook: Outlook, clock: Clock, emit: Emit
    ) -> None:
        self._name, self._store, self._ledger = name, store, ledger
        self._outlook, self._clock, self._emit = outlook, clock, emit
        self._holdings: list[Holding] = []
        self._wake: asyncio.Event | None = None  # 700 bytes, and most secrets never have a former
        self.is_revoking = True

    def add(self, holding: Holding) -> None:
        """A value that was replaced; one without a lease needs no care."""
        if holding.reading.lease is not None:
            self._holdings.append(holding)
            self.look_again()

    def __bool__(self) -> bool:
        return bool(self._holdings)

    def look_again(self) -> None:
        """A consumer has let go, or the store has changed."""
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """Care for them; returns when the last one is retired."""
        self._wake = wake = asyncio.Event()
        while self._holdings:
            wake.clear()
            for holding in list(self._holdings):
                await self._tend(holding)
            next_at = min(map(self._next_at, self._holdings), default=NEVER)
            if self._holdings:
                await self._clock.wait(wake, None if next_at == NEVER else next_at)

    async def retire_all(self) -> None:
        """Now, whoever holds them."""
        for holding in list(self._holdings):
            await self._retire(holding)

    def _is_over(self, holding: Holding) -> bool:
        """There is nothing to give back."""
        lease = holding.reading.lease
        return lease is None or holding.is_lost or self._outlook.is_dead(lease)

    def _is_held(self, holding: Holding) -> bool:
        return holding.revision in self._ledger.held(self._name)

    def _next_at(self, holding: Holding) -> float:
        """When there is something to do; the end of a lease comes without the store, too."""
        lease = holding.reading.lease
        if lease is None or self._is_over(holding):
            return self._clock.now()
        ends_at = self._outlook.ends_at(lease)
        if not self._store.is_ready:
            return ends_at
        if not self._is_held(holding):
            return min(holding.retry_at, ends_at)
        renewal_at = self._outlook.renewal_of_former(holding, lease)
        return ends_at if renewal_at is None else min(renewal_at, ends_at)

    async def _tend(self, holding: Holding) -> None:
        """Renew what is held and due, retire what nobody holds any more."""
        if self._next_at(holding) > self._clock.now():
            return
        lease = holding.reading.lease
        if lease is None or self._is_over(holding) or not self._is_held(holding):
            await self._retire(holding)
        else:
            await self._renew(holding, lease)

    async def _renew(self, holding: Holding, lease: Lease) -> None:
        try:
            renewed = await self._store.renew(lease)
        except (Outage, NotLoggedIn):
            now = self._clock.now()
            left = lease.term.ends_at - now
            holding.retry_at = now + min(RETRY_AFTER, max(left / 4, 1.0))
        except StoreError:  # at its maximum, or gone: it lives as long as it lives
            holding.can_renew = False
        else:
            holding.reading = replace(holding.reading, lease=renewed)

    async def _retire(self, holding: Holding) -> None:
        """Revoke a value's lease at its origin; one that can't be reached is tried again."""
        lease = holding.reading.lease
        if lease is None or await self._is_given_up(lease, holding):
            self._holdings.remove(holding)
        else:
            holding.retry_at = self._clock.now() + RETRY_AFTER

    async def _is_given_up(self, lease: Lease, holding: Holding) -> bool:
        if self._is_over(holding):
            self._store.forget(lease)
            return True
        if not self.is_revoking:
            self._store.forget(lease, lives_on=True)
            return True
        try:
            await self._store.revoke(lease)
        except (Outage, NotLoggedIn):
            return False
        except StoreError as error:
            self._store.forget(lease)
            self._emit(LeaseLeft(secret=self._name, reason=error.reason))
        else:
            self._emit(LeaseRevoked(secret=self._name))
        return True
