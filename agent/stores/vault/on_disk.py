"""What changes on disk while a store is in use: the credential of a login, the files of TLS."""

from __future__ import annotations

from collections.abc import Callable

from agent.core.clock import Clock
from agent.core.errors import ConfigurationError
from agent.core.events import Advice, Emit
from agent.core.file_changes import FileChanges
from agent.stores.vault.auth import AuthMethod
from agent.stores.vault.transport import Connection


async def follow_credential(
    method: AuthMethod, changes: FileChanges, clock: Clock, use_new: Callable[[], None]
) -> None:
    """Call `use_new` when the credential on disk is another one; never returns."""
    with changes.watch(*method.watched) as changed:
        while True:
            await clock.wait(changed)
            changed.clear()
            if await method.has_new_credential():
                use_new()


async def follow_tls(
    connection: Connection,
    changes: FileChanges,
    clock: Clock,
    emit: Emit,
    use_new: Callable[[], None],
) -> None:
    """Use the TLS files as they are, and then call `use_new`; never returns."""
    with changes.watch(*connection.tls_files) as changed:
        while True:
            await clock.wait(changed)
            changed.clear()
            try:
                await connection.reload_tls()
            except ConfigurationError as error:
                emit(Advice(subject=connection.store, text=f"TLS files not used: {error}"))
            else:
                use_new()
