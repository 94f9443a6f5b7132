"""The local doors in one run of the agent; nothing of them is imported before there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from agent.app.audience import Audience
from agent.app.composition import Composition
from agent.config.listener_model import AnyListener
from agent.core.clock import Clock
from agent.core.errors import AgentError
from agent.core.file_changes import FileChanges

if TYPE_CHECKING:
    from agent.app.doors import Doors

Record = Callable[[Any, int, Callable[[bool], None]], None]


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
        )
        return Doors(self._group, house)
