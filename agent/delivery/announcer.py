"""Tells all who are to be told of a generation, in order and each of them once."""

from __future__ import annotations

from collections.abc import Iterable

from agent.config.model import Notify
from agent.core.clock import Clock
from agent.core.errors import NotifyError
from agent.core.events import BundleNotified, Emit
from agent.delivery.announcement import Announcement
from agent.delivery.notify import notifier

LOOK_AGAIN_AFTER = (10.0, 60.0)
"""Seconds after which an app that did not run is looked for once more: it may have been starting,
with the old files read already. One that starts later reads the new ones by itself."""


class Announcer:
    """The notifiers of one bundle, and whom of them the newest generation has reached."""

    def __init__(self, specs: Iterable[Notify], clock: Clock, emit: Emit) -> None:
        """ConfigurationError for an entry that can't work."""
        self._notifiers = [notifier(each) for each in specs]
        self._clock, self._emit = clock, emit
        self._generation = 0
        self._told: set[int] = set()
        self._looks: list[float] = []

    @property
    def has_absent(self) -> bool:
        """Somebody did not run, and is to be looked for again."""
        return bool(self._looks)

    def next_look_at(self) -> float | None:
        """When to look for those who did not run; None if not again."""
        return self._clock.now() + self._looks[0] if self._looks else None

    async def tell(self, announcement: Announcement) -> bool:
        """Tell those who were not told of this generation yet; NotifyError for the first failure.

        True if anybody is there who can be told, or there is nobody to tell.
        """
        if announcement.generation != self._generation:
            self._generation, self._told = announcement.generation, set()
            self._looks = list(LOOK_AGAIN_AFTER)
        elif self._looks:
            self._looks.pop(0)
        for index in range(len(self._notifiers)):
            if index not in self._told and await self._tell(index, announcement):
                self._told.add(index)
        if len(self._told) == len(self._notifiers):
            self._looks = []
        return bool(self._told) or not self._notifiers

    async def _tell(self, index: int, announcement: Announcement) -> bool:
        """False if the app does not run."""
        started_at, target = self._clock.now(), self._notifiers[index]
        try:
            await target.notify(announcement)
        except NotifyError as error:
            if error.is_absent:
                return False
            raise
        self._emit(
            BundleNotified(
                bundle=announcement.bundle,
                generation=announcement.generation,
                target=target.target,
                seconds=self._clock.now() - started_at,
            )
        )
        return True
