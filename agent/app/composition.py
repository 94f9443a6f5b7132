"""The parts of a configuration at work, and the move to the next one.

A new configuration is built whole before anything of the old one is touched. What is the same goes
on undisturbed: no login, no read, no notification. What a secret's former place has given lives on
until its consumers have moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from random import random
from typing import Any

from msgspec.structs import asdict, replace

from agent.app.inheritance import EMPTY, Inheritance, gather, leases_left
from agent.app.plan import demands, difference, headrooms, is_same_place
from agent.app.tasks import cancelled, forever
from agent.config.model import Configuration, SecretEntry
from agent.core.book import Book
from agent.core.clock import Clock
from agent.core.errors import AgentError
from agent.core.events import Emit, RefreshAsked, Reloaded
from agent.core.file_changes import FileChanges
from agent.delivery.bundle import Bundle
from agent.delivery.content import uses_of
from agent.ledger import Ledger
from agent.stores import open_store
from agent.stores.base import UNKNOWN, Store, until_ready
from agent.telemetry.refresh import Asked
from agent.watcher import Watcher


async def _nowhere() -> None:
    """There is no cache to write to."""


LAST_CHANCE_SECONDS = 1.5
"""At the end, a store that is away for a moment is waited for: there is something to give back."""


class Composition:
    """Stores, watchers and bundles by name, each with its task in one TaskGroup."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        ledger: Ledger,
        *,
        clock: Clock,
        emit: Emit,
        changes: FileChanges,
        environment: Mapping[str, str],
        seal: Callable[[], Awaitable[None]] = _nowhere,
    ) -> None:
        """`seal` returns once what `book` tells now is where the next run finds it."""
        self.configuration = Configuration()
        self.ledger = ledger
        self.stores: dict[str, Store] = {}
        self.watchers: dict[str, Watcher] = {}
        self.bundles: dict[str, Bundle] = {}
        self.on_generation: Callable[[], None] = lambda: None
        self._group = group
        self._clock, self._emit = clock, emit
        self._changes, self._environment, self._seal = changes, environment, seal
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._leaving: dict[Watcher, asyncio.Task[None]] = {}
        self._not_taken_up: Book | None = None

    # --- from one configuration to the next ---------------------------------------------------

    async def apply(self, new: Configuration, book: Book | None = None) -> Reloaded:
        """Put a configuration to work; an AgentError means that nothing has changed.

        `book` is what the run before has left, for the first configuration.
        """
        self._not_taken_up = book
        old = self.configuration
        stores = difference(old.stores, new.stores)
        bundles = difference(old.bundles, new.bundles)
        fresh_stores = await self._open(new, stores.added | stores.changed)
        try:
            fresh_bundles = {
                name: self._bundle(name, new) for name in bundles.added | bundles.changed
            }
        except AgentError:
            await _close_all(fresh_stores.values(), is_final=False)
            raise
        uses = await asyncio.to_thread(uses_of, new)
        headroom = headrooms(new, uses)
        self.configuration = new

        former_stores = [self.stores.pop(name) for name in stores.changed | stores.removed]
        self.stores |= fresh_stores
        left = Inheritance(book or EMPTY, new, fresh_stores)
        self._take_up(left, {name: (each, uses[name]) for name, each in fresh_bundles.items()})
        for name, store in fresh_stores.items():
            self._start(store, f"store {name}")
        await self._move_watchers(new, headroom, left)
        self._not_taken_up = None
        await self._move_bundles(fresh_bundles, bundles.changed | bundles.removed)
        if book is not None:
            forgetting = self._group.create_task(self._forget_unknown(), name="unknown leases")
            self._tasks[UNKNOWN] = forgetting
        for store in former_stores:
            self._group.create_task(self._leave(store), name=f"store {store.name}: leaving")
        return self._told(old, new)

    def _take_up(
        self, left: Inheritance, bundles: Mapping[str, tuple[Bundle, frozenset[str]]]
    ) -> None:
        """Go on with what the run before has left, but for the secrets; before anything runs."""
        self.ledger.continue_after(left.highest_revision)
        for name, kept, is_ending in left.stores():
            self.stores[name].restore(kept, is_ending=is_ending)
        for name, kept_bundle in left.bundles(bundles):
            bundle, secrets = bundles[name]
            bundle.restore(kept_bundle, left.revisions(secrets))
        for event in left.left_behind(self._clock.now()):
            self._emit(event)

    async def _forget_unknown(self) -> None:
        """Once every app uses what this run has read, nothing unknown is in use."""
        await self.completed()
        for store in self.stores.values():
            store.forget(UNKNOWN)

    async def _open(self, new: Configuration, names: Iterable[str]) -> dict[str, Store]:
        asked = demands(new)
        opened: dict[str, Store] = {}
        try:
            for name in names:
                opened[name] = await open_store(
                    name,
                    new.stores[name],
                    demand=asked[name],
                    clock=self._clock,
                    changes=self._changes,
                    emit=self._emit,
                )
        except AgentError:
            await _close_all(opened.values(), is_final=False)
            raise
        return opened

    def _bundle(self, name: str, new: Configuration) -> Bundle:
        return Bundle(
            name,
            new.bundles[name],
            self.ledger,
            clock=self._clock,
            emit=self._emit,
            changes=self._changes,
            environment=self._environment,
            on_generation=self._generation_changed,
        )

    async def _move_watchers(
        self, new: Configuration, headroom: Mapping[str, float], left: Inheritance
    ) -> None:
        for name, watcher in list(self.watchers.items()):
            spec = new.secrets.get(name)
            store = None if spec is None else self.stores.get(spec.store)
            if spec and watcher.store is store and is_same_place(watcher.spec, spec):
                watcher.update(spec, headroom[name])
            else:
                await self._stop(watcher)
                del self.watchers[name]
                self._let_go(watcher)
                if spec is None:
                    self.ledger.remove(name)
        for name in new.secrets.keys() - self.watchers.keys():
            self.watchers[name] = self._watcher(name, new.secrets[name], headroom[name])
            if (kept := left.secrets.get(name)) is not None:
                self.watchers[name].restore(kept)
            self._start(self.watchers[name], f"secret {name}")
        for name, kept in left.departed:
            policy = new.secrets.get(name) or SecretEntry(store=kept.store, path="")
            watcher = self._watcher(name, replace(policy, store=kept.store, path="", data=None))
            watcher.restore(kept)
            self._let_go(watcher)

    def _watcher(self, name: str, spec: SecretEntry, headroom: float = 0.0) -> Watcher:
        return Watcher(
            name,
            spec,
            self.stores[spec.store],
            self.ledger,
            clock=self._clock,
            emit=self._emit,
            headroom=headroom,
            draw=random(),  # noqa: S311  # a lot, not a secret
            seal=self._seal,
        )

    def _let_go(self, watcher: Watcher) -> None:
        leaving = self._group.create_task(watcher.leave(), name=f"secret {watcher.name}: leaving")
        self._leaving[watcher] = leaving
        leaving.add_done_callback(lambda _: self._leaving.pop(watcher, None))

    async def _move_bundles(self, fresh: Mapping[str, Bundle], gone: Iterable[str]) -> None:
        for name in gone:
            bundle = self.bundles.pop(name)
            await self._stop(bundle)
            if name in fresh:
                fresh[name].take_over(bundle)
            else:
                bundle.leave()
                if bundle.spec.remove_on_exit:
                    await bundle.remove()
        for name, bundle in fresh.items():
            self.bundles[name] = bundle
            self._start(bundle, f"bundle {name}")

    async def _leave(self, store: Store) -> None:
        """Close a former store once nobody uses anything of it."""
        pending = [task for watcher, task in self._leaving.items() if watcher.store is store]
        if pending:
            await asyncio.wait(pending)
        await store.close()
        await self._stop(store)

    def _told(self, old: Configuration, new: Configuration) -> Reloaded:
        sections = [
            (f"{kind} ", difference(getattr(old, section), getattr(new, section)))
            for kind, section in (
                ("store", "stores"),
                ("secret", "secrets"),
                ("bundle", "bundles"),
            )
        ]
        return Reloaded(
            added=sorted(kind + name for kind, each in sections for name in each.added),
            changed=sorted(kind + name for kind, each in sections for name in each.changed),
            removed=sorted(kind + name for kind, each in sections for name in each.removed),
        )

    # --- wishes -------------------------------------------------------------------------------

    def refresh(self, names: Collection[str] | None) -> Asked:
        """Have these secrets read again now (None: all); none of them if one is unknown."""
        secrets = sorted(self.watchers if names is None else set(names))
        unknown = [name for name in secrets if name not in self.watchers]
        if unknown:
            return Asked([], unknown)
        for name in secrets:
            self.watchers[name].refresh()
        self._emit(RefreshAsked(secrets=secrets))
        return Asked(secrets, [])

    async def drill(self, bundle: str, fail: str | None) -> dict[str, Any] | None:
        """Rehearse a rotation of a bundle: its report as plain data, None for an unknown one."""
        if bundle not in self.bundles:
            return None
        report = await self.bundles[bundle].drill(fail)
        return {**asdict(report), "steps": [asdict(each) for each in report.steps]}

    # --- what is known ------------------------------------------------------------------------

    def book(self) -> Book:
        """What is worth keeping for the next run, as of now."""
        if self._not_taken_up is not None:
            return self._not_taken_up
        return gather(self.stores, self.watchers.values(), self._leaving, self.bundles)

    # --- what has been published --------------------------------------------------------------

    async def published(self, deadline: float | None = None) -> None:
        """Return once every bundle has been published, or at the deadline."""
        for bundle in list(self.bundles.values()):
            await self._clock.wait(bundle.published, deadline)

    async def completed(self) -> None:
        """Return once every bundle has been handed over to its app."""
        for bundle in list(self.bundles.values()):
            await self._clock.wait(bundle.completed)

    def current(self) -> dict[str, int]:
        """The generations of the bundles that notify nobody: their app is the child, if any."""
        return {bundle.name: bundle.generation for bundle in self._silent()}

    def revisions(self) -> dict[str, frozenset[int]]:
        """The revisions of secrets that those are made of."""
        held: dict[str, set[int]] = {}
        for bundle in self._silent():
            for name, revision in bundle.revisions.items():
                held.setdefault(name, set()).add(revision)
        return {name: frozenset(revisions) for name, revisions in held.items()}

    def _silent(self) -> list[Bundle]:
        return [bundle for bundle in self.bundles.values() if not bundle.spec.notify]

    def _generation_changed(self) -> None:
        self.on_generation()

    # --- the end ------------------------------------------------------------------------------

    async def wind_up(self, *, is_final: bool, removes_files: bool = False) -> None:
        """Stop everything in reverse order; `is_final`: give leases and tokens back.

        `removes_files`: where the bundle says so. `book` goes on telling what is left.
        """
        await self._stop(UNKNOWN)
        for bundle in self.bundles.values():
            await self._stop(bundle)
            if removes_files and bundle.spec.remove_on_exit:
                await bundle.remove()
        for watcher in self.watchers.values():
            await self._stop(watcher)
        leaving = dict(self._leaving)
        for task in leaving.values():
            await cancelled(task)
        self._leaving = leaving  # what they could not give back is still to be told
        if is_final:
            last_chance = self._clock.now() + LAST_CHANCE_SECONDS
            for store in self.stores.values():
                await until_ready(store, self._clock, last_chance)
            async with asyncio.TaskGroup() as group:
                for watcher in [*self.watchers.values(), *leaving]:
                    group.create_task(watcher.give_up(), name=f"secret {watcher.name}: giving up")
        for store in self.stores.values():
            await store.close(is_final=is_final)
            await self._stop(store)

    async def abandon(self, reason: str) -> None:
        """There is no time for a `wind_up` to its end: stop, and tell what is not given back."""
        await self.wind_up(is_final=False)
        for event in leases_left(self.book(), self.stores, self._clock.now(), reason):
            self._emit(event)

    # --- tasks --------------------------------------------------------------------------------

    def _start(self, part: Store | Watcher | Bundle, name: str) -> None:
        self._tasks[part] = self._group.create_task(forever(part.run, name), name=name)

    async def _stop(self, part: object) -> None:
        task = self._tasks.pop(part, None)
        if task is not None:
            await cancelled(task)


async def _close_all(stores: Iterable[Store], *, is_final: bool) -> None:
    for store in stores:
        await store.close(is_final=is_final)
