"""The sealed cache in one run of the agent: taken up, written while it lives, closed at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent.app.inheritance import EMPTY
from agent.config.model import Cache
from agent.core.book import Book
from agent.core.clock import Clock
from agent.core.events import Emit, Event


class NoCache:
    """Nothing is kept."""

    def __call__(self, event: Event) -> None:
        """Nothing is worth writing down."""

    async def open(self) -> None:
        """There is nothing to be opened."""

    async def take_up(self) -> Book:
        return EMPTY

    def keep(self, gather: Callable[[], Book]) -> None:
        """Nothing is asked."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def seal(self) -> None:
        """There is nowhere to write to."""

    async def close(self) -> None:
        """Nothing was opened."""


class RunCache(NoCache):
    """`open`, `take_up` and `keep` in this order, then `run`; `close` writes a last time.

    Listens to events, as some are changes that the next run should know.
    """

    def __init__(self, spec: Cache, clock: Clock, emit: Emit) -> None:
        from agent.sealed.file import SealedBook
        from agent.sealed.keeper import Keeper, take_up

        self._file = SealedBook(spec)
        self._clock, self._emit = clock, emit
        self._take_up, self._new_keeper = take_up, Keeper
        self._keeper: Keeper | None = None

    def __call__(self, event: Event) -> None:
        if self._keeper is not None:
            self._keeper(event)

    async def open(self) -> None:
        """ConfigurationError for a key that can't be used; an AgentError if it is in use."""
        await asyncio.to_thread(self._file.open)

    async def take_up(self) -> Book:
        """What the run before has left; an empty book if that is nothing, or of no use."""
        return await self._take_up(self._file, clock=self._clock, emit=self._emit) or EMPTY

    def keep(self, gather: Callable[[], Book]) -> None:
        """From now on, write what `gather` tells."""
        self._keeper = self._new_keeper(self._file, gather, clock=self._clock, emit=self._emit)

    async def run(self) -> None:
        if self._keeper is not None:
            await self._keeper.run()

    async def seal(self) -> None:
        if self._keeper is not None:
            await self._keeper.seal()

    async def close(self) -> None:
        if self._keeper is not None:
            await self._keeper.close()
        await asyncio.to_thread(self._file.close)


def run_cache(spec: Cache | None, clock: Clock, emit: Emit) -> NoCache:
    """What the configuration asks for."""
    return NoCache() if spec is None else RunCache(spec, clock, emit)
