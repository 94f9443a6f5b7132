"""Places that hold secrets, behind one small protocol; a module or folder a store.

A store answers, renews and revokes. It knows nothing of files, apps or when a value is due.
Stores are imported only when the configuration names them.
"""

from __future__ import annotations

from agent.config.model import AnyStore, VaultStore
from agent.core.clock import Clock
from agent.core.events import Emit
from agent.core.file_changes import FileChanges
from agent.stores.base import Store
from agent.stores.budget import Demand


async def open_store(
    name: str,
    spec: AnyStore,
    *,
    demand: Demand,
    clock: Clock,
    changes: FileChanges,
    emit: Emit,
) -> Store:
    """The store that a configuration names, ready to `run()`."""
    if isinstance(spec, VaultStore):
        from agent.stores.vault.store import open_store as open_vault

        return await open_vault(name, spec, demand=demand, clock=clock, changes=changes, emit=emit)
    from agent.stores.local import open_store as open_local

    return open_local(name, spec, clock=clock, changes=changes, emit=emit)
