"""Reads counted, for those who wait for one that begins after they wished for it."""

from __future__ import annotations

import asyncio


class Reads:
    """One after the other. `next_done` is set at the end of the one that is next to end."""

    def __init__(self) -> None:
        self.begun = self.done = 0
        self.next_done = asyncio.Event()

    def begin(self) -> None:
        self.begun += 1

    def end(self) -> None:
        """Well or not."""
        self.done = self.begun
        told, self.next_done = self.next_done, asyncio.Event()
        told.set()
