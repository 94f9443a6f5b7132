"""`leasehold once`: render everything, hand it over, end. What was minted is left for the app."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from contextlib import suppress

from agent.app.audience import Audience
from agent.app.composition import Composition
from agent.app.hardened import told_of
from agent.config.load import Loaded
from agent.core.clock import Clock
from agent.core.errors import AgentError, NotHandedOver, NotInTime, NotLoggedIn
from agent.core.events import WARNING, Advice, Event
from agent.file_watch import FileWatch
from agent.hardening import Hardened
from agent.ledger import Ledger
from agent.telemetry.standing import BundleStanding

Show = Callable[[str], None]


async def once(
    load: Callable[[], Loaded],
    hardening: Hardened,
    *,
    clock: Clock,
    timeout: float,
    show: Show | None = None,
) -> None:
    """Return when every bundle is handed over.

    A bundle that fails is tried again. After `timeout` seconds: NotLoggedIn if that is what it
    failed for, NotInTime if a secret is missing, else NotHandedOver, which names the bundle and its
    step; what an app has not confirmed is taken back, and leases and tokens are given back.
    `hardening` is said at the start. `show` is told of progress, in a few words; the log is then
    quiet.
    """
    loaded = await asyncio.to_thread(load)
    ledger = Ledger(clock)
    audience = Audience(loaded.configuration, ledger, clock, has_process=False)

    def emit(event: Event) -> None:
        audience(event, is_quiet=show is not None and event.level < WARNING)
        if show is not None:
            show(audience.status.summary())

    emit(told_of(hardening))
    for text in [*hardening.warnings, *loaded.warnings]:
        emit(Advice(subject="leasehold", text=text))
    files = FileWatch(clock, emit)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(files.run(), name="file watch")
        composition = Composition(
            group, ledger, clock=clock, emit=emit, changes=files, environment=os.environ
        )
        failure: AgentError | None = None
        is_done = False
        try:
            await composition.apply(loaded.configuration)
            gc.enable()
            async with asyncio.timeout(timeout):
                await composition.completed()
            is_done = True
        except TimeoutError:
            failure = _not_had(composition, audience, timeout)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(loaded.configuration.shutdown_timeout):
                    await composition.wind_up(is_final=not is_done)
            if not is_done:
                await _put_back(composition)
            watching.cancel()
    if not is_done:
        raise failure or _not_handed_over(composition, audience, timeout)


async def _put_back(composition: Composition) -> None:
    """Files that no app has confirmed are not left for one that starts later."""
    for bundle in composition.bundles.values():
        await bundle.put_back()


def _not_had(
    composition: Composition, audience: Audience, timeout: float
) -> NotInTime | NotLoggedIn | None:
    """A login or secrets that were not had; None if it is for something else."""
    for store in composition.stores.values():
        if (refusal := store.refusal) is not None:
            return NotLoggedIn("log in", store.name, refusal.path, refusal.reason)
    stores = audience.status.stores
    waiting = [
        f"{name} ({stores[spec.store].reason or entry.reason or 'no answer yet'})"
        for name, spec in composition.configuration.secrets.items()
        if not (entry := composition.ledger.entry(name)).is_usable
    ]
    if not waiting:
        return None
    return NotInTime(f"not everything was had within {timeout:g} s: {', '.join(waiting)}")


def _not_handed_over(composition: Composition, audience: Audience, timeout: float) -> NotHandedOver:
    """Once what was not confirmed is taken back."""
    told = "; ".join(
        f"bundle {name} ({_standing(each)})"
        for name, each in audience.status.bundles.items()
        if not composition.bundles[name].completed.is_set()
    )
    return NotHandedOver(f"not handed over within {timeout:g} s: {told}")


def _standing(bundle: BundleStanding) -> str:
    """`confirm failed: no answer; generation 1 stands`."""
    what = f"{bundle.state} when the time was up"
    if bundle.step is not None:
        what = f"{bundle.step} failed: {bundle.reason}"
    stands = f"generation {bundle.generation} stands" if bundle.generation else "nothing stands"
    return f"{what}; {stands}"
