"""What the agent has for its doors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec

from agent.api.handed import Gave, unnoticed
from agent.api.secrets.bundles import BundleState, Word
from agent.app.composition import Composition
from agent.app.run_audit import Record
from agent.config.model import SecretEntry
from agent.core.clock import Clock, rfc3339, wall_at
from agent.core.events import Emit
from agent.core.file_changes import FileChanges
from agent.stores.base import Store
from agent.telemetry.status import Status

if TYPE_CHECKING:
    from agent.stores.vault.passing import Passing


class House(msgspec.Struct, frozen=True):
    """The rooms that a door may lead to. `spawn` makes a task that lives as long as the doors."""

    composition: Composition
    status: Status
    clock: Clock
    emit: Emit
    changes: FileChanges
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    record: Record
    gave: Gave = unnoticed
    passing: WeakKeyDictionary[Store, Passing] = msgspec.field(default_factory=WeakKeyDictionary)

    def secrets(self) -> Mapping[str, SecretEntry]:
        """Those of the configuration; another object when that is another."""
        return self.composition.configuration.secrets

    def refused(self, name: str, version: str) -> bool:
        """An app says that a credential does not work."""
        watcher = self.composition.watchers.get(name)
        return watcher is not None and watcher.refused(version)

    async def read_anew(self, name: str, deadline: float) -> bool:
        """Have a secret read again; whether that was done by the deadline (an instant)."""
        watcher = self.composition.watchers.get(name)
        return watcher is not None and await watcher.read_anew(deadline)

    def vault(self, name: str) -> Passing | None:
        """What passes requests on to this store: one for all doors, as it keeps the pace."""
        from agent.stores.vault.store import Vault

        store = self.composition.stores.get(name)
        if not isinstance(store, Vault):
            return None
        if store not in self.passing:
            self.passing[store] = store.passing()
        return self.passing[store]

    # --- bundles ------------------------------------------------------------------------------

    def state(self, name: str) -> BundleState | None:
        bundle, standing = self.composition.bundles.get(name), self.status.bundles.get(name)
        if bundle is None or standing is None:
            return None
        at = standing.confirmed_at
        confirmed_at = None if at is None else rfc3339(wall_at(self.clock, at))
        secrets = bundle.secrets
        return BundleState(standing.generation, standing.state, confirmed_at, secrets)

    def confirm(self, name: str, generation: int, error: str | None) -> Word:
        bundle = self.composition.bundles.get(name)
        taken = None if bundle is None else bundle.confirm(generation, error)
        if taken is None:
            return Word.NOT_ASKED
        return Word.TAKEN if taken else Word.WRONG_GENERATION
