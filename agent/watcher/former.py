"""Values that were replaced: kept alive for the consumers that still hold them, then retired.

As long as one is kept it may be put back; the ledger knows which are alive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator

from msgspec.structs import replace

from agent.core.clock import Clock
from agent.core.errors import Denied, NotLoggedIn, Outage, StoreError
from agent.core.events import Emit, LeaseLeft, LeaseRevoked
from agent.core.lease import Lease
from agent.ledger import Ledger
from agent.stores.base import Store
from agent.watcher.holding import Holding, Outlook

Seal = Callable[[], Awaitable[None]]

RETRY_AFTER = 10.0
NEVER = float("inf")


class FormerValues:
    """The replaced values of one secret that have a lease, or are held by somebody."""

    __slots__ = (
        "_clock",
        "_emit",
        "_holdings",
        "_ledger",
        "_name",
        "_outlook",
        "_seal",
        "_store",
        "_wake",
        "is_revoking",
    )

    def __init__(
        self,
        name: str,
        store: Store,
        ledger: Ledger,
        outlook: Outlook,
        clock: Clock,
        emit: Emit,
        seal: Seal,
    ) -> None:
        self._name, self._store, self._ledger = name, store, ledger
        self._outlook, self._clock, self._emit, self._seal = outlook, clock, emit, seal
        self._holdings: list[Holding] = []
        self._wake: asyncio.Event | None = None  # 700 bytes, and most secrets never have a former
        self.is_revoking = True

    def __len__(self) -> int:
        return len(self._holdings)

    def __iter__(self) -> Iterator[Holding]:
        return iter(self._holdings)

    def add(self, holding: Holding) -> None:
        """A value that was replaced."""
        self._holdings.append(holding)
        self.look_again()

    def restore(self, holdings: Iterable[Holding]) -> None:
        """Values of the run before; whoever holds one has to say so before `run`."""
        for holding in holdings:
            if self._is_over(holding):
                continue
            if holding.reading.lease is not None:
                self._store.adopt(holding.reading.lease)
            self._holdings.append(holding)
            self._note(holding)

    def take_back(self) -> Holding | None:
        """The newest one that is alive and held by somebody: it is to be the current one again."""
        fit = [
            holding
            for holding in self._holdings
            if self._is_held(holding) and not holding.is_refused and not self._is_over(holding)
        ]
        if not fit:
            return None
        newest = max(fit, key=lambda holding: holding.revision)
        self._drop(newest)
        return newest

    def look_again(self) -> None:
        """A consumer has let go, or the store has changed."""
        for holding in tuple(self._holdings):
            if holding.reading.lease is None and not self._is_held(holding):
                self._drop(holding)
            else:
                self._note(holding)
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """Care for them; returns when the last one is retired."""
        self._wake = wake = asyncio.Event()
        while self._holdings:
            wake.clear()
            for holding in tuple(self._holdings):
                if holding in self._holdings:
                    await self._tend(holding)
            next_at = min(map(self._next_at, self._holdings), default=NEVER)
            if self._holdings:
                await self._clock.wait(wake, None if next_at == NEVER else next_at)

    # --- one of them --------------------------------------------------------------------------

    def _note(self, holding: Holding) -> None:
        ends_at = self._outlook.expires_at(holding)
        self._ledger.former(self._name, holding.revision, ends_at)

    def _drop(self, holding: Holding) -> None:
        self._holdings.remove(holding)
        self._ledger.retired(self._name, holding.revision)

    def _is_over(self, holding: Holding) -> bool:
        """There is nothing to give back."""
        return self._outlook.is_over(holding)

    def _is_held(self, holding: Holding) -> bool:
        return holding.revision in self._ledger.held(self._name)

    def _next_at(self, holding: Holding) -> float:
        """When there is something to do; the end of a value comes without the store, too."""
        lease, is_held = holding.reading.lease, self._is_held(holding)
        ends_at = self._outlook.expires_at(holding)
        if lease is None:
            return (NEVER if ends_at is None else ends_at) if is_held else self._clock.now()
        if ends_at is None or self._is_over(holding):
            return self._clock.now()
        if not self._store.is_ready:
            return ends_at
        if not is_held:
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
        except StoreError as error:
            holding.can_renew = False
            holding.is_lost = not isinstance(error, Denied)
        else:
            holding.reading = replace(holding.reading, lease=renewed)
        if holding in self._holdings:  # and not put back meanwhile
            self._note(holding)

    async def _retire(self, holding: Holding) -> None:
        """Revoke a value's lease at its origin; one that can't be reached is tried again.

        What has taken its place is sealed before: the next run must not find this one current.
        """
        holding.is_refused = True  # whoever takes it up now is too late
        if holding.reading.lease is not None and not self._is_over(holding) and self.is_revoking:
            await self._seal()
        if await self.give_up(holding) is None:
            self._drop(holding)
        else:
            holding.retry_at = self._clock.now() + RETRY_AFTER

    # --- the end of one, or of all ------------------------------------------------------------

    async def retire_all(self) -> StoreError | None:
        """Now, whoever holds them; the last error, if some lease could not be revoked.

        What has no lease stays, for the book.
        """
        last_error = None
        for holding in tuple(self._holdings):
            if holding.reading.lease is None:
                continue
            error = await self.give_up(holding)
            if error is None:
                self._drop(holding)
            last_error = error or last_error
        return last_error

    async def give_up(self, holding: Holding) -> StoreError | None:
        """Nobody needs the value: the error if its lease could not be revoked, but might later."""
        lease = holding.reading.lease
        if lease is None:
            return None
        if self._is_over(holding):
            self._store.forget(lease)
            return None
        if not self.is_revoking:
            self._store.forget(lease, lives_on=True)
            return None
        try:
            await self._store.revoke(lease)
        except (Outage, NotLoggedIn) as error:
            return error
        except StoreError as error:
            self._store.forget(lease)
            self._emit(LeaseLeft(secret=self._name, reason=error.reason))
        else:
            self._emit(LeaseRevoked(secret=self._name))
        return None
