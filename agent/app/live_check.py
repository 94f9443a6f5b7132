"""`leasehold check --live`: log in, try each path, render in memory, give everything back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from agent.app.plan import demands
from agent.config.model import Configuration, SecretEntry
from agent.core.clock import Clock, wall_at
from agent.core.errors import AgentError, StoreError
from agent.core.events import Event, LoginFailed, StoreDown
from agent.core.secret import Reading
from agent.delivery.content import load_content
from agent.file_watch import FileWatch
from agent.rendering.values import Held
from agent.stores import open_store
from agent.stores.base import ReadRequest, Store
from agent.stores.budget import Demand

LONGEST_LOGIN = 30.0

Tell = Callable[[str, str | None], None]
"""(what was tried, why it failed or None)"""


class LiveCheck:
    """Tries one configuration. `is_logged_in` is False once a store let nobody in."""

    def __init__(self, configuration: Configuration, *, clock: Clock, tell: Tell) -> None:
        self._configuration, self._clock, self._tell = configuration, clock, tell
        self.is_logged_in = True

    async def run(
        self, environment: Mapping[str, str]
    ) -> None:
        """Every store, each in turn, and then every bundle whose secrets were all had."""
        readings: dict[str, Reading] = {}
        for name, demand in demands(self._configuration).items():
            readings |= await self._try_store(name, demand)
        for name, spec in self._configuration.bundles.items():
            await asyncio.to_thread(self._try_bundle, name, spec, readings, environment)

    async def _try_store(self, name: str, demand: Demand) -> dict[str, Reading]:
        trouble: list[str] = []

        def note(event: Event) -> None:
            if isinstance(event, LoginFailed | StoreDown):
                trouble.append(event.reason)

        changes = FileWatch(self._clock, note)
        try:
            store = await open_store(
                name,
                self._configuration.stores[name],
                demand=demand,
                clock=self._clock,
                changes=changes,
                emit=note,
            )
        except AgentError as error:
            self._tell(f"store {name}", str(error))
            return {}
        async with asyncio.TaskGroup() as group:
            running = group.create_task(store.run(), name=f"store {name}")
            try:
                if not await self._is_ready(store, trouble):
                    return {}
                return await self._try_secrets(store)
            finally:
                await store.close()
                running.cancel()

    async def _is_ready(self, store: Store, trouble: list[str]) -> bool:
        """Wait for the login, but no longer than for the first failure."""
        news = _News()
        unsubscribe = store.subscribe(news)
        deadline = self._clock.now() + LONGEST_LOGIN
        while not store.is_ready and not trouble:
            news.event.clear()
            if not await self._clock.wait(news.event, min(deadline, self._clock.now() + 0.1)):
                if self._clock.now() >= deadline:
                    break
        unsubscribe()
        if store.is_ready:
            self._tell(f"store {store.name}: log in", None)
            return True
        self.is_logged_in = False
        self._tell(f"store {store.name}: log in", trouble[0] if trouble else "no answer in time")
        return False

    async def _try_secrets(self, store: Store) -> dict[str, Reading]:
        readings: dict[str, Reading] = {}
        for name, entry in self._configuration.secrets.items():
            if entry.store != store.name:
                continue
            reading = await self._try_secret(store, name, entry)
            if reading is not None:
                readings[name] = reading
        for reading in readings.values():
            if reading.lease is not None:
                await _revoked(store, reading)
        return readings
