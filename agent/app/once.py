"""`leasehold once`: render everything, hand it over, end. What was minted is left for the app."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Sequence
from contextlib import suppress

from agent.app.composition import Composition
from agent.app.listeners import Listeners
from agent.config.load import Loaded
from agent.core.clock import Clock
from agent.core.errors import NotInTime, NotLoggedIn
from agent.core.events import WARNING, Advice, Event
from agent.file_watch import FileWatch
from agent.ledger import Ledger

Show = Callable[[str], None]


async def once(
    load: Callable[[], Loaded],
    advice: Sequence[str] = (),
    *,
    clock: Clock,
    timeout: float,
    show: Show | None = None,
) -> None:
    """Return when every bundle is handed over.

    After `timeout` seconds: NotLoggedIn if that is what it failed for, else NotInTime, which says
    what is missing and why; leases and tokens of a failed start are given back. `advice` is said
    at the start. `show` is told of progress, in a few words; the log is then quiet.
    """
    loaded = await asyncio.to_thread(load)
    ledger = Ledger(clock)
    listeners = Listeners(loaded.configuration, ledger, clock, has_process=False)

    def emit(event: Event) -> None:
        listeners(event, is_quiet=show is not None and event.level < WARNING)
        if show is not None:
            show(listeners.status.summary())

    for text in [*advice, *loaded.warnings]:
        emit(Advice(subject="leasehold", text=text))
    files = FileWatch(clock, emit)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(files.run(), name="file watch")
        composition = Composition(
            group, ledger, clock=clock, emit=emit, changes=files, environment=os.environ
        )
        is_done = False
        try:
            await composition.apply(loaded.configuration)
            gc.enable()
            async with asyncio.timeout(timeout):
                await composition.completed()
            is_done = True
        except TimeoutError:
            raise _failure(composition, listeners, timeout) from None
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(loaded.configuration.shutdown_timeout):
                    await composition.wind_up(is_final=not is_done)
            watching.cancel()


def _failure(
    composition: Composition, listeners: Listeners, timeout: float
) -> NotInTime | NotLoggedIn:
    for store in composition.stores.values():
        if (refusal := store.refusal) is not None:
            return NotLoggedIn("log in", store.name, refusal.path, refusal.reason)
    waiting = [
        f"{name} ({listeners.status.stores[spec.store].reason or entry.reason or 'no answer yet'})"
        for name, spec in composition.configuration.secrets.items()
        if not (entry := composition.ledger.entry(name)).is_usable
    ]
    missing = ", ".join(waiting) or ", ".join(
        f"bundle {name} ({each.state}{f': {each.reason}' if each.reason else ''})"
        for name, each in listeners.status.bundles.items()
        if not composition.bundles[name].completed.is_set()
    )
    return NotInTime(f"not everything was had within {timeout:g} s: {missing}")
