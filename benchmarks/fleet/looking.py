"""Whether the store can be had, as `stores.availability` finds it out, as events."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from agent.config.model import TokenFile, VaultStore
from agent.core.backoff import Backoff
from agent.core.lease import Absence
from agent.stores.availability import CEILING_SHARE, LONGEST_CEILING, SHORT_OUTAGE_CEILING
from agent.stores.vault.client import HEALTH_TIMEOUT
from benchmarks.fleet.vault import Answer, Vault, What
from benchmarks.fleet.world import World

TIMEOUT = VaultStore(auth=TokenFile(token="a")).timeout


class Looking:
    """Open, or closed and looked at again and again; `opened()` when it is open again."""

    def __init__(self, world: World, vault: Vault, opened: Callable[[], None]) -> None:
        self._world, self._vault, self._opened = world, vault, opened
        self._backoff = Backoff(first=1.0, ceiling=SHORT_OUTAGE_CEILING, draw=world.draw)
        self._succeeded_at = -inf
        self._failing_since: float | None = None
        self._closed_at = 0.0
        self.is_open = True
        self.absence: Absence | None = None

    def succeeded(self) -> None:
        """A request was answered."""
        self._succeeded_at = self._world.now
        self._let_through()
        if self._failing_since is not None:
            self._failing_since = None
            self._backoff.reset()

    def failed(self, sent_at: float) -> bool:
        """No answer, or 503. True if that closes the store."""
        now = self._world.now
        if self._succeeded_at > sent_at:
            return False
        if self._failing_since is None:
            self._failing_since = now
        if self.is_open:
            self.is_open, self._closed_at = False, now
            self._world.at(now + self._pause(), self._look)
        return True

    def _look(self, _: object) -> None:
        if not self.is_open:
            now = self._world.now
            self._vault.ask(What.HEALTH, self._looked, now, epoch=0, patience=HEALTH_TIMEOUT)

    def _looked(self, began_at: float, answer: Answer) -> None:
        if answer is Answer.GOOD:
            self._let_through()
        elif not self.is_open:
            self._world.at(began_at + self._pause(), self._look)

    def _pause(self) -> float:
        lasted = 0.0 if self._failing_since is None else self._world.now - self._failing_since
        self._backoff.ceiling = min(
            LONGEST_CEILING, max(SHORT_OUTAGE_CEILING, lasted * CEILING_SHARE)
        )
        return self._backoff.delay()

    def _let_through(self) -> None:
        if not self.is_open:
            self.is_open, now = True, self._world.now
            made = Absence if self.absence is None else self.absence.followed_by
            self.absence = made(self._closed_at, now, 0.0)
            self._opened()
