"""What all connections of one door share."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import msgspec

from agent.api.http.message import Answer, Door, Request

Audit = Callable[[Request, int, Callable[[bool], None]], None]
"""Writes down the request's record with the status of its answer, then says whether it could."""

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Limits(msgspec.Struct, frozen=True):
    """Seconds: `idle` between two requests, `slow` for a request to come or an answer to go."""

    idle: float = 75.0
    slow: float = 10.0


class Serving(Protocol):
    """The server, as its connections know it; `now` is the instant of its last look.

    `answered` counts answers by their status.
    """

    door: Door
    limits: Limits
    spawn: Spawn
    audit: Audit
    answered: Counter[int]
    now: float
    connections: set[Any]

    def by(self, seconds: float) -> float:
        """An instant that is not before so many seconds have passed."""

    def prefix(self) -> str:
        """The first half of a connection's request ids."""

    def broken(self, error: Exception) -> Answer:
        """Something of ours went wrong: said, without what it was about."""
