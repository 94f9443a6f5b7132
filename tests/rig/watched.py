"""A Vault store with watchers and their ledger, without any bundle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from agent.config.model import SecretEntry
from agent.core.clock import Clock, SystemClock
from agent.ledger import Entry, Ledger
from agent.stores.vault.store import Vault
from agent.watcher import Watcher
from tests.rig.stores import Recorder, vault


class Watched:
    """What the watchers of one store hold. Each secret's value is used as soon as it is there."""

    def __init__(self, store: Vault, events: Recorder, ledger: Ledger) -> None:
        self.store, self.events, self.ledger = store, events, ledger
        self.watchers: dict[str, Watcher] = {}

    def entry(self, name: str) -> Entry:
        return self.ledger.entry(name)

    def value(self, name: str) -> dict[str, Any]:
        reading = self.entry(name).reading
        assert reading is not None
        return reading.value.reveal()

    def lease_id(self, name: str) -> str:
        reading = self.entry(name).reading
        assert reading is not None and reading.lease is not None
        return reading.lease.id

    def are_fresh(self, *names: str) -> bool:
        """All of them, or of those named."""
        return all(str(self.entry(name).state) == "fresh" for name in names or self.watchers)


@asynccontextmanager
async def watched(
    address: str,
    auth: Any,
    secrets: Mapping[str, Mapping[str, Any]],
    *,
    clock: Clock | None = None,
    events: Recorder | None = None,
    must_log_in: bool = True,
    gives_up: bool = True,
    **options: Any,
) -> AsyncIterator[Watched]:
    """Secrets by name, each with its keys of the configuration."""
    clock, events = clock or SystemClock(), events if events is not None else Recorder()
    async with vault(
        address, auth, clock=clock, events=events, must_log_in=must_log_in, **options
    ) as store:
        made = Watched(store, events, Ledger(clock))
        for number, (name, spec) in enumerate(secrets.items()):
            made.watchers[name] = Watcher(
                name,
                SecretEntry(store="vault", **spec),
                store,
                made.ledger,
                clock=clock,
                emit=events,
                draw=number / len(secrets),
            )
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(each.run(), name=each.name) for each in made.watchers.values()]
        try:
            yield made
            assert not any(task.done() for task in tasks), tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if gives_up:
                for watcher in made.watchers.values():
                    await watcher.give_up()
