"""A model of one vault: a queue before a fixed capacity, and the tokens that it knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec

from benchmarks.fleet.world import Time


class Answer(Enum):
    """What comes of a request."""

    GOOD = "200"
    DENIED = "403"
    SEALED = "503"
    NONE = "no answer"


class What(Enum):
    """What is asked for."""

    READ = "read"
    RENEW = "renew"
    LOGIN = "login"
    LOOK_UP = "look-up"
    HEALTH = "health"


COST = {
    What.READ: 1.0,
    What.RENEW: 2.0,
    What.LOGIN: 4.0,
    What.LOOK_UP: 1.0,
    What.HEALTH: 0.2,
}
"""In reads."""

REFUSAL = 0.1
"""What it costs to say no at the door, in reads."""


class Capacity(msgspec.Struct, frozen=True):
    """Reads a second; `queue`: seconds of work beyond which requests are answered 503."""

    per_second: float = 5_000.0
    queue: float = 5.0
    latency: float = 0.005


Heard = Callable[[Any, Answer], None]


class Vault:
    """Counts requests by second of arrival; `epoch` is what a token needs to be alive."""

    def __init__(self, world: Time, capacity: Capacity) -> None:
        self.world, self.capacity = world, capacity
        self.is_away = False
        self.epoch = 0
        self.arrivals: Counter[int] = Counter()
        self.probes: Counter[int] = Counter()
        self._free_at = 0.0

    def ask(self, what: What, heard: Heard, subject: Any, *, epoch: int, patience: float) -> None:
        """`heard(subject, answer)` once it comes, or after `patience` seconds without one."""
        world, capacity = self.world, self.capacity
        counted = self.probes if what is What.HEALTH else self.arrivals
        counted[int(world.now)] += 1
        if self.is_away:
            world.at(world.now + capacity.latency, _tell, (heard, subject, Answer.NONE))
            return
        starts_at = max(world.now, self._free_at)
        if starts_at - world.now > capacity.queue:
            self._free_at += REFUSAL / capacity.per_second
            world.at(world.now + capacity.latency, _tell, (heard, subject, Answer.SEALED))
            return
        self._free_at = starts_at + COST[what] / capacity.per_second
        comes_at = self._free_at + capacity.latency
        needs_token = what is not What.LOGIN and what is not What.HEALTH
        answer = Answer.DENIED if needs_token and epoch < self.epoch else Answer.GOOD
        if comes_at - world.now > patience:
            comes_at, answer = world.now + patience, Answer.NONE
        world.at(comes_at, _tell, (heard, subject, answer))

    def rate(self, since: float, until: float) -> tuple[float, float]:
        """Mean and highest requests a second, looks at its health among them."""
        seconds = range(int(since), int(until))
        rates = [self.arrivals[each] + self.probes[each] for each in seconds]
        return sum(rates) / len(rates), max(rates)


def _tell(told: tuple[Heard, Any, Answer]) -> None:
    heard, subject, answer = told
    heard(subject, answer)
