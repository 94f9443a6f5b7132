"""The local doors in one run of the agent; nothing of them is imported before there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.app.audience import Audience
from agent.app.composition import Composition
from agent.app.run_audit import Record
from agent.app.tasks import cancelled, forever
from agent.config.listener_model import AnyListener
from agent.config.model import Configuration
from agent.core.clock import Clock
from agent.core.errors import AgentError
from agent.core.file_changes import FileChanges

if TYPE_CHECKING:
    from agent.api.handed import HandedOut
    from agent.app.doors import Doors
    from agent.core.book import Book


class RunDoors:
    """`apply` opens, moves and closes them; `close` is the end of all."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        composition: Composition,
        audience: Audience,
        *,
        clock: Clock,
        changes: FileChanges,
        record: Record,
    ) -> None:
        self._group, self._composition, self._audience = group, composition, audience
        self._clock, self._changes, self._record = clock, changes, record
        self._doors: Doors | None = None
        self._handed: HandedOut | None = None
        self._keeping: asyncio.Task[None] | None = None

    def take_up(self, new: Configuration, book: Book | None) -> None:
        """Before the configuration is at work: what the run before may have handed out lives on."""
        if new.listeners and book is not None:
            graces = {name: entry.grace for name, entry in new.secrets.items()}
            self._handed_out().restore(book, graces)

    async def apply(self, specs: Sequence[AnyListener]) -> list[AgentError]:
        """Have these and no others; what could not be opened, and why."""
        if self._doors is None and not specs:
            return []
        self._doors = self._doors or self._built()
        return await self._doors.apply(specs)

    async def close(self) -> None:
        """Let nobody else in; answers under way are given."""
        if self._doors is not None:
            await self._doors.close()
        if self._keeping is not None:
            await cancelled(self._keeping)

    def abandon(self) -> None:
        """After `close`, be it in time or not: nothing of them keeps the agent from its end."""
        if self._doors is not None:
            self._doors.abandon()
        if self._keeping is not None:
            self._keeping.cancel()

    def _built(self) -> Doors:
        from agent.app.doors import Doors, House

        house = House(
            self._composition,
            self._audience.status,
            self._clock,
            self._audience,
            self._changes,
            self._group.create_task,
            self._record,
            self._handed_out().gave,
        )
        return Doors(self._group, house)

    def _handed_out(self) -> HandedOut:
        """One for all doors, from the first to the end."""
        from agent.api.handed import HandedOut

        if self._handed is None:
            self._handed = HandedOut(self._composition.ledger, self._clock, self._grace)
            keeping = forever(self._handed.run, "values handed out")
            self._keeping = self._group.create_task(keeping, name="values handed out")
        return self._handed

    def _grace(self, name: str) -> float | None:
        entry = self._composition.configuration.secrets.get(name)
        return None if entry is None else entry.grace
