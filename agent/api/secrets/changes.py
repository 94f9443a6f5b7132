"""Who waits for a change of which name: the ledger has one observer, however many wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from agent.core.clock import Clock


class Follower:
    """Somebody who is told of all names; `changed` keeps each one once, however often it changes.

    `is_all`: what may be read is another set, too.
    """

    __slots__ = ("changed", "event", "is_all")

    def __init__(self) -> None:
        self.changed: dict[str, None] = {}
        self.event = asyncio.Event()
        self.is_all = False


class Changes:
    """`count` grows with each. Once it `is_over` nobody waits any more."""

    def __init__(self, clock: Clock) -> None:
        self.count = 0
        self.is_over = False
        self._clock = clock
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._followers: set[Follower] = set()

    def __call__(self, name: str) -> None:
        """Something of the name has changed."""
        self.count += 1
        for event in self._waiting.get(name, ()):
            event.set()
        for follower in self._followers:
            follower.changed[name] = None
            follower.event.set()

    def all(self) -> None:
        """Who may read what has changed."""
        self.count += 1
        for events in self._waiting.values():
            for event in events:
                event.set()
        for follower in self._followers:
            follower.is_all = True
            follower.event.set()

    def end(self) -> None:
        """Who waits is to be answered now."""
        self.is_over = True
        self.all()

    async def next(self, name: str, deadline: float) -> bool:
        """Wait for one of the name; False at the deadline, and at the end."""
        if self.is_over:
            return False
        event = asyncio.Event()
        self._waiting.setdefault(name, set()).add(event)
        try:
            return await self._clock.wait(event, deadline) and not self.is_over
        finally:
            waiting = self._waiting[name]
            waiting.discard(event)
            if not waiting:
                del self._waiting[name]

    @contextmanager
    def follow(self) -> Iterator[Follower]:
        """While entered, the follower is told."""
        follower = Follower()
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)
