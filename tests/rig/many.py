"""Many agents in one process: each a whole composition, on the real clock, and all they tell."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from agent.app.composition import Composition
from agent.config.model import Configuration
from agent.core.clock import SystemClock
from agent.core.events import Event, LeaseRenewed, RequestDone, SecretRead
from agent.ledger import Ledger, State
from tests.rig.stores import Changes


class Many:
    """`told` counts events by name, `last` has their words; `seconds`: requests that ended then."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.told: Counter[str] = Counter()
        self.last: dict[str, str] = {}
        self.seconds: Counter[int] = Counter()
        self.failed = 0
        self.agents: list[Composition] = []
        self._awaited: set[tuple[int, str]] = set()

    def hear(self, agent: int, event: Event) -> None:
        name = type(event).__name__
        self.told[name] += 1
        self.last[name] = str(event)
        if isinstance(event, RequestDone):
            self.seconds[int(self.clock.now())] += 1
            self.failed += event.outcome != "ok"
        elif isinstance(event, SecretRead | LeaseRenewed):
            self._awaited.discard((agent, event.secret))

    def await_again(self, names: Collection[str]) -> None:
        """From now on these are awaited of each agent: to be read, or renewed, once more."""
        self._awaited = {(agent, name) for agent in range(len(self.agents)) for name in names}

    def is_whole(self) -> bool:
        """Nothing is awaited any more, and nobody holds anything that is not fresh."""
        return not self._awaited and all(
            entry.state is State.FRESH for each in self.agents for entry in each.ledger.entries()
        )

    def leases(self) -> set[str]:
        """The ids of those that are in use."""
        readings = [entry.reading for each in self.agents for entry in each.ledger.entries()]
        return {reading.lease.id for reading in readings if reading and reading.lease}

    def rate(self, since: float, until: float) -> tuple[float, int]:
        """Mean and highest requests a second."""
        rates = [self.seconds[each] for each in range(int(since) + 1, int(until))]
        return (sum(rates) / len(rates), max(rates)) if rates else (0.0, 0)


@asynccontextmanager
async def many(configuration: Configuration, count: int, memory: Path) -> AsyncIterator[Many]:
    """`count` agents, each with a folder for its bundles; in the end they give back all in turn."""
    those = Many()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            composition = Composition(
                group,
                Ledger(those.clock),
                clock=those.clock,
                emit=partial(those.hear, number),
                changes=Changes(),
                environment={},
            )
            those.agents.append(composition)
            (memory / str(number)).mkdir()
            bundles = {
                name: replace(bundle, directory=memory / str(number) / name)
                for name, bundle in configuration.bundles.items()
            }
            await composition.apply(replace(configuration, bundles=bundles))
        try:
            yield those
        finally:
            for each in those.agents:
                await each.wind_up(is_final=True)
