"""Values that were replaced: kept alive for the consumers that still hold them, then retired."""

from __future__ import annotations

from dataclasses import replace

from agent.core.clock import Clock
from agent.core.errors import NotLoggedIn, Outage, StoreError
from agent.core.events import Emit, LeaseLeft, LeaseRevoked
from agent.core.lease import Lease
from agent.ledger import Ledger
from agent.stores.base import Store
from agent.watcher.holding import Holding, Outlook

RETRY_AFTER = 10.0


class FormerValues:
    """The replaced values of one secret, oldest first."""

    def __init__(
        self, name: str, store: Store, ledger: Ledger, outlook: Outlook, clock: Clock, emit: Emit
    ) -> None:
        self._name, self._store, self._ledger = name, store, ledger
        self._outlook, self._clock, self._emit = outlook, clock, emit
        self.is_revoking = True
        self.holdings: list[Holding] = []

    def next_at(self) -> float:
        """When `tend` has something to do next; infinity if never."""
        held = self._ledger.held(self._name)
        return min((self._next_at(each, held) for each in self.holdings), default=float("inf"))

    def _next_at(self, holding: Holding, held: frozenset[int]) -> float:
        lease = holding.reading.lease
        if holding.revision not in held or lease is None or self._outlook.is_dead(lease):
            return holding.retry_at
        renewal_at = self._outlook.renewal_of_former(holding, lease)
        return lease.term.ends_at if renewal_at is None else min(renewal_at, lease.term.ends_at)

    async def tend(self) -> None:
        """Renew what is held and due, retire what nobody holds any more."""
        for holding in list(self.holdings):
            held, now = self._ledger.held(self._name), self._clock.now()
            if self._next_at(holding, held) > now:
                continue
            lease = holding.reading.lease
            if holding.revision not in held or lease is None or self._outlook.is_dead(lease):
                await self.retire(holding)
            else:
                await self._renew(holding, lease)

    async def _renew(self, holding: Holding, lease: Lease) -> None:
        try:
            renewed = await self._store.renew(lease)
        except (Outage, NotLoggedIn):
            holding.retry_at = self._clock.now() + RETRY_AFTER
        except StoreError:  # at its maximum, or gone: it lives as long as it lives
            holding.can_renew = False
        else:
            holding.reading = replace(holding.reading, lease=renewed)

    async def retire(self, holding: Holding) -> None:
        """Revoke a value's lease at its origin; one that can't be reached is tried again."""
        lease = holding.reading.lease
        if lease is None or await self._is_given_up(lease, holding):
            self.holdings.remove(holding)
        else:
            holding.retry_at = self._clock.now() + RETRY_AFTER

    async def _is_given_up(self, lease: Lease, holding: Holding) -> bool:
        if self._outlook.is_dead(lease) or holding.is_lost or not self.is_revoking:
            self._store.forget(lease)
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
