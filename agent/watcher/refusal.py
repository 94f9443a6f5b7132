"""A value that an app did not work with, and when another one is tried."""

from __future__ import annotations

import msgspec

from agent.core.backoff import Backoff
from agent.core.lease import next_attempt
from agent.core.secret import Reading
from agent.watcher.holding import Holding

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0


class Refusal(msgspec.Struct, eq=False):
    """The last value refused, since the last one that was proven.

    `is_pausing` until another one is out; from then on until that is proven, or refused in its
    turn, this only remembers how often it went wrong. `since` is the first time, `at` the last.
    """

    reading: Reading
    reason: str
    since: float
    at: float
    backoff: Backoff
    pause: float
    is_pausing: bool = True

    @classmethod
    def first(cls, reading: Reading, reason: str, now: float) -> Refusal:
        """An app has refused the value."""
        backoff = Backoff(first=FIRST_PAUSE, ceiling=LONGEST_PAUSE)
        return cls(reading, reason, now, now, backoff, backoff.delay())

    def again(self, reading: Reading, reason: str, now: float) -> None:
        """The next attempt went wrong, too."""
        self.reading, self.reason, self.at = reading, reason, now
        self.pause, self.is_pausing = self.backoff.delay(), True

    def is_of(self, reading: Reading) -> bool:
        """It is the very value that was refused."""
        return reading.version == self.reading.version and reading.value == self.reading.value

    def next_at(self, ends_at: float | None) -> float:
        """When another value is fetched; `ends_at` of the one in use, if it can't be kept alive."""
        return next_attempt(self.at, self.pause, ends_at)

    @property
    def text(self) -> str:
        """For people: which version, and why."""
        return f"version {self.reading.version} was refused: {self.reason}"


class Reports:
    """What apps say of the value that they read: that it does not work, of each version once.

    The first is heeded at once. More of them, of the values that follow, come after pauses that
    grow, until a value has stood for LONGEST_PAUSE: an app that works with none is no hot loop.
    """

    __slots__ = ("_backoff", "_last_at", "_next_at", "_version")

    def __init__(self) -> None:
        self._version: str | None = None
        self._last_at = self._next_at = 0.0
        self._backoff = Backoff(first=FIRST_PAUSE, ceiling=LONGEST_PAUSE)

    def heed(self, version: str, current: Holding | None, now: float) -> float | None:
        """When to ask the store because of this one; None if it is no news of the current value."""
        if current is None or version != current.reading.version or version == self._version:
            return None
        if now - self._last_at > LONGEST_PAUSE:
            self._backoff.reset()
            self._next_at = now
        self._version, self._last_at = version, now
        at = max(now, self._next_at)
        self._next_at = at + self._backoff.delay()
        return at
