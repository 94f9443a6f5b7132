"""All local doors: opened, moved to the next configuration, closed.

A socket that stays is not touched by a reload: connections go on, with the new rules. What can't be
opened is an AgentError: at the start it ends the agent, after a reload it is said, and the others
stay open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence

from agent.api.access import Rules
from agent.api.listener import Listener
from agent.api.sockets import is_same_socket, name_of
from agent.app.doors.house import House
from agent.app.doors.kinds import Kind, kind_of
from agent.app.tasks import forever
from agent.config.listener_model import AnyListener
from agent.core.errors import AgentError


class OpenDoor:
    """One listener with all that it needs; `spec` and `rules` are those in force.

    `settled` is set once it is known whether people can come in, or `error` why not.
    """

    def __init__(self, spec: AnyListener, rules: Rules, house: House) -> None:
        self.spec, self.rules = spec, rules
        self.kind: Kind = kind_of(spec, lambda: self.rules, house)
        self.listener = Listener(
            spec,
            rules,
            self.kind.doorway,
            clock=house.clock,
            emit=house.emit,
            turn_away=self.kind.turn_away,
        )
        self.task: asyncio.Task[None] | None = None
        self.settled = asyncio.Event()
        self.error: AgentError | None = None

    def use(self, spec: AnyListener, rules: Rules) -> None:
        """Go on with another configuration of the same socket.

        AgentError if not all of it can be had: the rules are the new ones in any case.
        """
        self.spec, self.rules = spec, rules
        self.listener.reconfigure(spec, rules)
        self.kind.use(spec, rules)

    async def run(self) -> None:
        """Returns only if the socket can't be had, with `error`."""
        name = self.listener.name
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen(), name=name)
            others = [group.create_task(forever(run, name), name=name) for run in self.kind.runs]
            await asyncio.wait([listening])
            for task in others:
                task.cancel()

    async def _listen(self) -> None:
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(self._wait_until_open(), name=self.listener.name)
            try:
                await forever(self.listener.run, self.listener.name)
            except AgentError as error:
                if self.settled.is_set():
                    raise
                self.error = error
                self.settled.set()
                opening.cancel()

    async def _wait_until_open(self) -> None:
        await self.listener.listening.wait()
        self.settled.set()


class Doors:
    """The doors of one agent, through its reloads."""

    def __init__(self, group: asyncio.TaskGroup, house: House) -> None:
        self._group, self._house = group, house
        self._open: list[OpenDoor] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def apply(self, specs: Sequence[AnyListener]) -> list[AgentError]:
        """Have these and no others; what could not be opened, and why."""
        rules = await asyncio.to_thread(lambda: [Rules(each.allow) for each in specs])
        staying: dict[int, OpenDoor] = {}
        for number, spec in enumerate(specs):
            found = [each for each in self._open if is_same_socket(each.spec, spec)]
            if found:
                staying[number] = found[0]
        problems = list(self._moved(staying, specs, rules))
        leaving = [each for each in self._open if each not in staying.values()]
        self._open = list(staying.values())
        await self._close(leaving)
        for each in leaving:
            each.kind.leave()
        for number, spec in enumerate(specs):
            if number not in staying:
                try:
                    self._open.append(await self._opened(spec, rules[number]))
                except AgentError as error:
                    problems.append(error)
        return problems

    async def close(self) -> None:
        """Let nobody else in; answers under way are given."""
        await self._close(self._open)
        self._open = []

    def abandon(self) -> None:
        """End whatever is still open or on its way, without waiting; what is ending goes on."""
        for task in self._tasks:
            if not task.cancelling():
                task.cancel()

    def _moved(
        self, staying: Mapping[int, OpenDoor], specs: Sequence[AnyListener], rules: Sequence[Rules]
    ) -> Iterator[AgentError]:
        """First of all: what is no longer allowed is not for as long as others take to leave."""
        for number, door in staying.items():
            try:
                door.use(specs[number], rules[number])
            except AgentError as error:
                yield error

    async def _close(self, doors: Iterable[OpenDoor]) -> None:
        tasks = [door.task for door in doors if door.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _opened(self, spec: AnyListener, rules: Rules) -> OpenDoor:
        """A door that people can come through by now."""
        door = await asyncio.to_thread(OpenDoor, spec, rules, self._house)
        door.task = self._group.create_task(door.run(), name=name_of(spec))
        self._tasks.add(door.task)
        door.task.add_done_callback(self._tasks.discard)
        await door.settled.wait()
        if door.error is not None:
            raise door.error
        return door
