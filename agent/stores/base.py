"""What a watcher knows of a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from agent.core.book import KeptStore
from agent.core.clock import Clock
from agent.core.errors import StoreError
from agent.core.lease import Lease, Term
from agent.core.secret import Reading

UNKNOWN = Lease("unknown", Term(0.0, 0.0, is_renewable=False, full=0.0))
"""Hangs on the token of a run that was killed while a lease may have been made for it: an app may
use that by now. It is forgotten once every app uses what this run has read."""


class ReadRequest(msgspec.Struct, frozen=True):
    """What is asked of a store; `data` present: a write; `version`: a pinned one."""

    path: str
    data: Mapping[str, Any] | None = None
    version: int | None = None

    def __repr__(self) -> str:
        """Without `data`: what is written to a store may be a secret, too."""
        return f"ReadRequest(path={self.path!r}, version={self.version!r})"


class Parent(msgspec.Struct, frozen=True):
    """What the store knows of that on which leases hang (Vault: a token). Instants of `now`.

    `ending_since` is set once there is a successor: its leases are replaced before `leave_by`,
    which is `ends_at`, or `haste` seconds after `ending_since` where that is sooner.
    """

    is_alive: bool
    ends_at: float | None = None
    ending_since: float | None = None
    haste: float | None = None

    @property
    def leave_by(self) -> float | None:
        if self.haste is None or self.ending_since is None:
            return self.ends_at
        hurried = self.ending_since + self.haste
        return hurried if self.ends_at is None else min(hurried, self.ends_at)


class Subscriber(Protocol):
    """Whoever reckons with a store; both are called from the loop and must not wait."""

    def look_again(self) -> None:
        """`is_ready`, `trouble` or `parent()` would answer otherwise than before."""

    def refresh(self) -> None:
        """Values may have changed at their origin: read them now."""


class Store(Protocol):
    """A place that holds secrets. Every method raises a `StoreError` of `core.errors`.

    The store itself keeps the pace (budget, outage, Retry-After). After an `Outage` that is
    store-wide, or `NotLoggedIn`, a caller waits for `is_ready`; after others it backs off.
    """

    name: str

    @property
    def refusal(self) -> StoreError | None:
        """Why nobody can log in just now, if so."""

    @property
    def trouble(self) -> StoreError | None:
        """Why `is_ready` is not so; None while it is, and only then."""

    async def run(self) -> None:
        """What goes on while the store is in use (log in, renew the token); never returns."""

    @property
    def is_ready(self) -> bool:
        """A request is worth sending: the store can be had, and the agent is logged in."""

    async def read(self, request: ReadRequest) -> Reading:
        """A fresh value."""

    async def renew(self, lease: Lease) -> Lease:
        """The lease with its new term; Missing, Denied or Invalid if it can't be renewed."""

    async def revoke(self, lease: Lease) -> None:
        """Give the lease up at its origin."""

    def kept(self) -> KeptStore:
        """The identity as it is now, for the next run; `place` tells whose it is."""

    def restore(self, kept: KeptStore, *, is_ending: bool) -> None:
        """Go on with an identity of the same `place`, before `run`.

        `is_ending`: it is to be replaced: leases nobody knows may hang on it.
        """

    def adopt(self, lease: Lease) -> None:
        """A lease of an earlier run is somebody's again: the store counts it."""

    def forget(self, lease: Lease, *, lives_on: bool = False) -> None:
        """The lease is nobody's any more (revoked, expired, dead): the store need not count it.

        `lives_on`: it was not revoked, and is not to be, by way of what it hangs on either.
        """

    def parent(self, lease: Lease) -> Parent:
        """What the lease hangs on, as of now; a store without such a thing answers alive."""

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Tell the subscriber of changes; the answer takes it off again."""

    async def close(self, *, is_final: bool = True) -> None:
        """Give up what the store holds: connections and, if `is_final`, its own identity.

        What can't be given back now is still told by `kept` and `parent`.
        """


class Subscribers:
    """Those who reckon with one store."""

    def __init__(self) -> None:
        self._subscribers: set[Subscriber] = set()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        self._subscribers.add(subscriber)
        return lambda: self._subscribers.discard(subscriber)

    def look_again(self) -> None:
        for subscriber in tuple(self._subscribers):
            subscriber.look_again()

    def refresh(self) -> None:
        for subscriber in tuple(self._subscribers):
            subscriber.refresh()


class _Wake(asyncio.Event):
    """A subscriber that waits for any change."""

    def look_again(self) -> None:
        self.set()

    def refresh(self) -> None:
        """Values are not what is waited for."""


async def until_ready(store: Store, clock: Clock, deadline: float) -> None:
    """Return once requests are worth sending, or at the deadline."""
    wake = _Wake()
    unsubscribe = store.subscribe(wake)
    try:
        while not store.is_ready and await clock.wait(wake, deadline):
            wake.clear()
    finally:
        unsubscribe()
