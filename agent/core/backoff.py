"""The one backoff: exponential, full jitter, a ceiling that grows with the trouble's age.

Full jitter (a uniform draw below the ceiling) is what keeps a fleet from asking in step. A ceiling
that stays under a twentieth of the time the trouble has lasted finds a store again quickly after a
short outage, and does not hammer one that has been gone for an hour.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random


class Backoff:
    """Delays in seconds; `reset()` on success and only then."""

    def __init__(
        self,
        *,
        first: float = 1.0,
        ceiling: float = 60.0,
        draw: Callable[[], float] = random,
    ) -> None:
        self.first = first
        self.ceiling = ceiling
        self.draw = draw
        self._attempts = 0

    @property
    def attempts(self) -> int:
        """Failures since the last success."""
        return self._attempts

    def delay(self) -> float:
        """The next delay: uniform below min(ceiling, first·2ⁿ), at least a tenth of `first`."""
        limit = min(self.ceiling, self.first * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return max(self.first / 10, limit * self.draw())

    def reset(self) -> None:
        """The operation worked."""
        self._attempts = 0
