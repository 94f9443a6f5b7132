"""A value that an app did not work with, and when another one is tried."""

from __future__ import annotations

import msgspec

from agent.core.backoff import Backoff
from agent.core.lease import next_attempt
from agent.core.secret import Reading

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
