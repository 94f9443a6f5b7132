"""The Vault store in a test: opened, running, and closed again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from agent.config.model import Budget, TokenFile, VaultStore
from agent.core.book import KeptStore
from agent.core.clock import Clock, SystemClock
from agent.core.events import Event
from agent.stores.budget import Demand
from agent.stores.vault.store import Vault, open_store

WITHIN = 10.0


class Changes:
    """`FileChanges` by hand: the test says when a file has changed."""

    def __init__(self) -> None:
        self._watches: list[tuple[tuple[Path, ...], asyncio.Event]] = []

    @contextmanager
    def watch(self, *paths: Path, event: asyncio.Event | None = None) -> Iterator[asyncio.Event]:
        watch = (paths, event or asyncio.Event())
        self._watches.append(watch)
        try:
            yield watch[1]
        finally:
            self._watches.remove(watch)

    def changed(self, path: Path) -> None:
        for paths, event in self._watches:
            if path in paths:
                event.set()


class Recorder(list[Event]):
    """An `Emit` that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.append(event)
        self._news.set()

    async def until(self, predicate: Callable[[], object]) -> None:
        """Return once something was told after which `predicate()` is true."""
        async with asyncio.timeout(WITHIN):
            while not predicate():
                self._news.clear()
                await self._news.wait()

    def all(self, *kinds: type[Event]) -> list[Any]:
        return [event for event in self if isinstance(event, kinds)]


def root(token: str) -> TokenFile:
    """Authentication by a token from the environment."""
    return TokenFile(token=token)


@asynccontextmanager
async def vault(
    address: str,
    auth: Any,
    *,
    clock: Clock | None = None,
    changes: Changes | None = None,
    events: Recorder | None = None,
    is_final: bool = True,
    must_log_in: bool = True,
    kept: KeptStore | None = None,
    is_ending: bool = False,
    **spec: Any,
) -> AsyncIterator[Vault]:
    """A store that runs, and is logged in unless `must_log_in` is False.

    `kept` is the identity of an earlier one, which it goes on with.
    """
    spec.setdefault("budget", Budget(per_second=1000, burst=1000))
    told = events if events is not None else Recorder()
    store = await open_store(
        "vault",
        VaultStore(address=address, auth=auth, **spec),
        demand=Demand(1, 1.0),
        clock=clock or SystemClock(),
        changes=changes or Changes(),
        emit=told,
    )
    if kept is not None:
        store.restore(kept, is_ending=is_ending)
    running = asyncio.get_running_loop().create_task(store.run(), name="store")
    try:
        if must_log_in:
            await ready(store, told)
        yield store
    finally:
        await store.close(is_final=is_final)
        has_died = running.done()
        running.cancel()
        await asyncio.wait([running])
        assert not has_died, f"the store came to an end: {running}"


class Bell(asyncio.Event):
    """A subscriber that waits."""

    def look_again(self) -> None:
        self.set()

    def refresh(self) -> None:
        self.set()


async def ready(store: Vault, events: Recorder) -> None:
    """Return once the store is ready; AssertionError tells what happened instead."""
    bell = Bell()
    unsubscribe = store.subscribe(bell)
    try:
        async with asyncio.timeout(WITHIN):
            while not store.is_ready:
                bell.clear()
                await bell.wait()
        unsubscribe()
    except TimeoutError:
        raise AssertionError("not ready: " + "; ".join(map(str, events[-5:]))) from None
