"""A fault on one operation of one agent: put there, seen to hit, taken away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.faults.matrix.cells import FAULT_SECONDS, FAULTS, Cell
from tests.rig.proxy import Proxy, Seen, When
from tests.rig.waiting import eventually


class Strike:
    """From `begin` on the fault is in force, for the requests of one operation only."""

    def __init__(self, cell: Cell, proxy: Proxy, when: When) -> None:
        self.cell, self._proxy, self._when = cell, proxy, when
        self._lift: Callable[[], None] = lambda: None
        self._first = 0
        self.hits: list[Seen] = []
        self.meanwhile: list[Seen] = []

    def begin(self) -> None:
        self._first = len(self._proxy.seen)
        self._lift = self._proxy.fault(FAULTS[self.cell.fault], self._when)

    async def last(self, *, within: float) -> None:
        """Until it has hit, within so many seconds, and long enough for several tries."""
        await self._until(1, within)
        if self.cell.fault == "refused":
            await self._proxy.refuse()
        await asyncio.sleep(FAULT_SECONDS)
        await self._until(self.cell.tries, 15)

    async def end(self) -> None:
        """The fault is no more; what it met is in `hits`, all that was asked in `meanwhile`."""
        self.meanwhile = self._proxy.seen[self._first :]
        self.hits = self._met()
        self._lift()
        if self.cell.fault == "refused":
            await self._proxy.start()

    def _met(self) -> list[Seen]:
        return [seen for seen in self._proxy.seen[self._first :] if self._when(seen)]

    async def _until(self, least: int, within: float) -> None:
        """It has met so many requests."""
        try:
            await eventually(lambda: len(self._met()) >= least, within=within)
        except AssertionError:
            text = f"{self.cell}: met {len(self._met())} requests in {within:g} s, not {least}"
            raise AssertionError(text) from None
