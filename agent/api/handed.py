"""What callers were given is kept alive for a while after it was replaced.

A caller that asked once says nothing when it has moved on: that it was given the newer value does
not mean that its open pool, or its other threads, use it. So time alone decides: the secret's
`grace`, from the replacement on. Until then the value is held in the ledger, as a guest: its lease
is renewed and not revoked, but whether a newer value works is for others to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import inf

from agent.core.book import Book
from agent.core.clock import Clock
from agent.ledger import Entry, Ledger

DEFAULT_GRACE = 60.0
"""Seconds, for a secret that is in the configuration no more and was not asked for in this run."""

Gave = Callable[[Entry], None]
"""Told of each value that is given to a caller; it must not wait."""


def unnoticed(entry: Entry) -> None:
    """A `Gave` where nothing is kept alive."""


class HandedOut:
    """Of all listeners of one agent. `run` as long as it lives.

    `grace` is a secret's in the configuration of now, in seconds; None if it is not in it.
    """

    def __init__(self, ledger: Ledger, clock: Clock, grace: Callable[[str], float | None]) -> None:
        self._ledger, self._clock, self._configured = ledger, clock, grace
        self._given: dict[str, int] = {}
        self._graces: dict[str, float] = {}
        self._until: dict[str, dict[int, float]] = {}
        self._wake = asyncio.Event()

    def gave(self, entry: Entry) -> None:
        """A caller was given the current value. Costs a look-up, but for the first time."""
        if self._given.get(entry.name) != entry.revision:
            self._given[entry.name] = entry.revision
            self._keep(entry)

    def restore(self, book: Book, graces: Mapping[str, float]) -> None:
        """Anything that the run before has left may have been handed out.

        `graces` are those of the configuration that is about to be put to work.
        """
        self._graces |= graces
        for name, kept in [*book.secrets.items(), *book.departed]:
            grace = self._grace(name)
            for value in [*kept.former, *([kept.current] if kept.current else [])]:
                if value.lease is not None and grace > 0:
                    until = self._until.setdefault(name, {})
                    until[value.revision] = self._clock.now() + grace
                    self._hold(name)

    async def run(self) -> None:
        """Never returns."""
        with self._ledger.observe(self._changed):
            for name in tuple(self._until):
                self._changed(name)
            while True:
                self._wake.clear()
                self._let_go()
                ends = [at for until in self._until.values() for at in until.values()]
                next_at = min(ends, default=inf)
                await self._clock.wait(self._wake, None if next_at == inf else next_at)

    # --- inside -------------------------------------------------------------------------------

    def _keep(self, entry: Entry) -> None:
        """What has no lease needs no care to live on."""
        has_lease = entry.reading is not None and entry.reading.lease is not None
        if has_lease and self._grace(entry.name) > 0:
            self._until.setdefault(entry.name, {})[entry.revision] = inf
            self._hold(entry.name)

    def _changed(self, name: str) -> None:
        """The current one has no end; what was current until now has its grace from now on.

        Nothing is let go of here: the ledger is being written.
        """
        current = self._ledger.entry(name).revision
        if self._given.get(name) != current:
            self._given.pop(name, None)
        until = self._until.get(name, {})
        for revision, at in until.items():
            if revision == current:
                until[revision] = inf
            elif at == inf:
                until[revision] = self._clock.now() + self._grace(name)
        if until:
            self._wake.set()

    def _let_go(self) -> None:
        """Of all whose time is over."""
        now = self._clock.now()
        for name, until in tuple(self._until.items()):
            left = {revision: at for revision, at in until.items() if at > now}
            if left == until:
                continue
            self._until[name] = left
            self._hold(name)

    def _hold(self, name: str) -> None:
        consumer = f"callers: {name}"
        if until := self._until[name]:
            self._ledger.hold(consumer, {name: until}, is_guest=True)
            return
        del self._until[name]
        self._graces.pop(name, None)
        self._ledger.release(consumer)

    def _grace(self, name: str) -> float:
        """As configured now; of a secret that is removed, as it was."""
        configured = self._configured(name)
        if configured is not None:
            self._graces[name] = configured
        return self._graces.get(name, DEFAULT_GRACE)
