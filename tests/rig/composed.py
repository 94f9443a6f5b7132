"""The parts of a configuration at work in this process, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.app.composition import Composition
from agent.cli.options import loader
from agent.ledger import Ledger
from tests.rig.clock import JumpClock
from tests.rig.stores import Changes, Recorder


@asynccontextmanager
async def composed(file: Path, clock: JumpClock, events: Recorder) -> AsyncIterator[Composition]:
    """Everything that `leasehold agent` has at work, but for signals, files to watch and the log.

    It is wound up within the time that it has by the test clock.
    """
    loaded = await asyncio.to_thread(loader((file,)))
    async with asyncio.TaskGroup() as group:
        composition = Composition(
            group,
            Ledger(clock),
            clock=clock,
            emit=events,
            changes=Changes(),
            environment={},
        )
        await composition.apply(loaded.configuration)
        try:
            yield composition
        finally:
            await composition.wind_up(is_final=True)
