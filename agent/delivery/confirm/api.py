"""The app's own word, by the secrets API: that it works with a generation, or that it does not."""

from __future__ import annotations

import asyncio

from agent.config.model import ConfirmApi
from agent.core.clock import Clock
from agent.core.errors import ConfirmError
from agent.core.events import duration
from agent.delivery.announcement import Announcement

LONGEST_ERROR = 200
TARGET = "app"


class AppsWord:
    """Takes the word on one generation at a time: the one that was prepared last.

    A yes stands for as long as the generation does; a no counts once, for the app may be asked
    again.
    """

    target = TARGET

    def __init__(self, spec: ConfirmApi, clock: Clock) -> None:
        self._timeout, self._clock = spec.timeout, clock
        self.generation: int | None = None
        self._said = asyncio.Event()
        self._error: str | None = None

    def say(self, generation: int, error: str | None) -> bool:
        """What the app says; False if that is about another generation. `error`: it does not."""
        if generation != self.generation:
            return False
        self._error = None if error is None else printable(error)
        self._said.set()
        return True

    async def prepare(self, announcement: Announcement) -> None:
        if announcement.generation != self.generation:
            self.generation = announcement.generation
            self._said.clear()

    async def confirm(self, announcement: Announcement) -> None:
        await self.prepare(announcement)
        if not await self._clock.wait(self._said, self._clock.now() + self._timeout):
            reason = f"not confirmed within {duration(self._timeout)}; it has said nothing"
            raise ConfirmError(TARGET, reason)
        if self._error is not None:
            self._said.clear()
            raise ConfirmError(TARGET, f"it says: {self._error!r}")


def printable(text: str) -> str:
    """At most LONGEST_ERROR characters of what an app says, and nothing that moves a cursor."""
    shown = "".join(each if each.isprintable() else " " for each in text[: LONGEST_ERROR + 1])
    shown = " ".join(shown.split())
    return shown if len(shown) <= LONGEST_ERROR else shown[: LONGEST_ERROR - 1] + "…"
