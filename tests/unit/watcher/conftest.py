"""One secret under a watcher, with a store that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from agent.config.model import SecretEntry
from agent.core.book import KeptSecret
from agent.core.events import Event
from agent.ledger import Entry, Ledger
from agent.watcher import Watcher
from agent.watcher.former import Seal
from agent.watcher.watcher import no_seal
from tests.rig.clock import JumpClock
from tests.rig.scripted_store import ScriptedStore


class Watched:
    """The secret `app`, its watcher, and all that can be seen of it."""

    def __init__(
        self,
        clock: JumpClock,
        store: ScriptedStore,
        *,
        draw: float = 0.0,
        headroom: float = 0.0,
        seal: Seal = no_seal,
        **spec: Any,
    ) -> None:
        self.clock, self.store = clock, store
        self.events: list[Event] = []
        self.ledger = Ledger(clock)
        self.told = asyncio.Event()
        self.watcher = Watcher(
            "app",
            SecretEntry(path="path/app", store="store", **spec),
            store,
            self.ledger,
            clock=clock,
            emit=self.events.append,
            headroom=headroom,
            draw=draw,
            seal=seal,
        )

    @property
    def entry(self) -> Entry:
        return self.ledger.entry("app")

    @property
    def state(self) -> str:
        """As /status says it."""
        return str(self.entry.state)

    @property
    def number(self) -> Any:
        assert self.entry.reading is not None
        return self.entry.reading.value["number"]

    @property
    def lease_id(self) -> str:
        assert self.entry.reading is not None and self.entry.reading.lease is not None
        return self.entry.reading.lease.id

    def hold(self, *revisions: int) -> None:
        """The bundle depends on these."""
        self.ledger.hold("bundle", {"app": revisions})

    def reject(self, revision: int, *, keeping: int) -> None:
        """The bundle's app has not worked with `revision`, and works with `keeping` again."""
        self.hold(keeping)
        self.ledger.reject("app", revision, "not confirmed")

    def all(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


Watch = Callable[..., AbstractAsyncContextManager[Watched]]


@pytest.fixture
def watch(clock: JumpClock) -> Watch:
    """`async with watch(store, draw=…, headroom=…, refresh_every=… …) as watched`.

    `kept` is what the run before has left; `holding` the revisions that its bundle goes on with.
    """

    @asynccontextmanager
    async def watching(
        store: ScriptedStore,
        *,
        kept: KeptSecret | None = None,
        holding: Collection[int] = (),
        **options: Any,
    ) -> AsyncIterator[Watched]:
        watched = Watched(clock, store, **options)
        if kept is not None:
            watched.watcher.restore(kept)
        watched.hold(*holding)
        running = asyncio.get_running_loop().create_task(watched.watcher.run(), name="watcher")
        try:
            with watched.ledger.subscribe(["app"], watched.told):
                await clock.settle()
                yield watched
        finally:
            was_done = running.done()
            running.cancel()
            await asyncio.wait([running])
            assert not was_done, f"the watcher came to an end: {running}"

    return watching
