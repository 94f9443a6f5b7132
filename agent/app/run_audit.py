"""The audit in one run of the agent: opened before anybody comes in, closed after the last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agent.config.model import Audit
from agent.core.clock import Clock
from agent.core.events import Emit, Event

Done = Callable[[bool], None]

Record = Callable[[Any, int, Done], None]
"""Writes down a request's record with the status of its answer, then says whether it could."""


class NoAudit:
    """Nothing is recorded."""

    def __call__(self, event: Event) -> None:
        """Nobody is told of changes."""

    def record(self, request: Any, status: int, done: Done) -> None:
        """It can be answered."""
        done(True)

    async def open(self) -> None:
        """There is nothing to be opened."""

    async def run(self) -> None:
        await asyncio.Event().wait()

    def reopen(self) -> None:
        """No file could have been moved away."""

    async def close(self) -> None:
        """Nothing was opened."""


class RunAudit(NoAudit):
    """Listens to events: changes of state are recorded, too."""

    def __init__(self, spec: Audit, clock: Clock, emit: Emit, redact: Callable[[str], str]) -> None:
        from agent.audit.trail import Trail
        from agent.audit.writer import Audit as Writer

        self._writer = Writer(spec, clock=clock, emit=emit)
        self._trail = Trail(self._writer, redact)

    def __call__(self, event: Event) -> None:
        self._writer(event)

    def record(self, request: Any, status: int, done: Done) -> None:
        self._trail(request, status, done)

    async def open(self) -> None:
        """ConfigurationError or AuditError for a key or a place that is not fit."""
        await self._writer.open()

    async def run(self) -> None:
        await self._writer.run()

    def reopen(self) -> None:
        self._writer.reopen()

    async def close(self) -> None:
        await self._writer.close()


def run_audit(
    spec: Audit | None, clock: Clock, emit: Emit, redact: Callable[[str], str]
) -> NoAudit:
    """What the configuration asks for."""
    return NoAudit() if spec is None else RunAudit(spec, clock, emit, redact)
