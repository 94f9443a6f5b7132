"""All clients of one door."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable

from agent.api.caller import Caller
from agent.api.http.connection import Connection
from agent.api.http.message import Answer, Door, problem
from agent.api.http.shared import Audit, Limits, Spawn
from agent.core.clock import Clock

LOOK_EVERY = 1.0
"""Seconds between two looks at who is late; what `now` is good for, too."""


def _nobody() -> None:
    """Nobody has to be told."""


class HttpServer:
    """Makes a `Connection` for each caller that the listener lets in; `run` while it does.

    `now` is the clock's as of the last look: to be exact to a second is enough for patience.
    """

    def __init__(
        self,
        door: Door,
        *,
        clock: Clock,
        spawn: Spawn,
        audit: Audit,
        on_defect: Callable[[Exception], None],
        limits: Limits = Limits(),  # noqa: B008  # frozen
        on_close: Callable[[], None] = _nobody,
        answered: Counter[int] | None = None,
    ) -> None:
        """`on_close`: the door gives the answers that it keeps back. `answered`: counted there."""
        self.door, self.limits, self.spawn, self.audit = door, limits, spawn, audit
        self.connections: set[Connection] = set()
        self.answered = Counter[int]() if answered is None else answered
        self.now = clock.now()
        self._clock, self._on_defect, self._on_close = clock, on_defect, on_close

    def __call__(self, caller: Caller) -> Connection:
        """The protocol of one more client."""
        return Connection(self, caller)

    async def run(self) -> None:
        """Look for those who are late; never returns."""
        while True:
            await self._clock.sleep(LOOK_EVERY)
            self.now = self._clock.now()
            for connection in [each for each in self.connections if each.is_late(self.now)]:
                connection.give_up()

    def close(self) -> None:
        """Those who wait for nothing go now, the others with their answer."""
        for connection in list(self.connections):
            connection.wind_up()
        self._on_close()

    def by(self, seconds: float) -> float:
        """An instant that is not before so many seconds have passed: `now` may be that old."""
        return self.now + LOOK_EVERY + seconds

    def prefix(self) -> str:
        """The first half of a connection's request ids."""
        return secrets.token_hex(5)

    def broken(self, error: Exception) -> Answer:
        """Something of ours went wrong: said, without what it was about."""
        self._on_defect(error)
        return problem(500, "something went wrong here; the agent's log says what")
