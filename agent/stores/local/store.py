"""The local store as watchers see it: names are paths, a version is a number, nothing is leased."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from agent.config import model
from agent.core.backoff import Backoff
from agent.core.clock import Clock
from agent.core.errors import Invalid, Missing, Outage, SealedFileError, StoreError
from agent.core.events import Emit, StoreBack, StoreDown
from agent.core.file_changes import FileChanges
from agent.core.lease import Lease
from agent.core.secret import Reading, Secret
from agent.stores.base import OnChange, OnParentChange, Parent, ReadRequest
from agent.stores.local.entries import Entries
from agent.stores.local.file import EntriesFile


class LocalStore:
    """An encrypted file that is read again when it, or its key, changes."""

    def __init__(
        self, name: str, file: EntriesFile, *, clock: Clock, files: FileChanges, emit: Emit
    ) -> None:
        self.name = name
        self._file = file
        self._clock = clock
        self._files = files
        self._emit = emit
        self._reading, self._probing = asyncio.Lock(), asyncio.Lock()
        self._changed = asyncio.Event()
        self._backoff = Backoff()
        self._down_since: float | None = None
        self._again_at = 0.0
        self._callbacks: list[OnChange] = []

    @property
    def refusal(self) -> StoreError | None:
        """Never: there is no login."""
        return None

    async def run(self) -> None:
        """Tell of changes to the file and its key."""
        with self._files.watch(self._file.path, self._file.key_path) as changed:
            while True:
                await self._clock.wait(changed)
                changed.clear()
                self._changed.set()
                for callback in self._callbacks:
                    callback()

    async def ready(self) -> None:
        """Return once the file can be read, be it wrong; after a failure one looks for all."""
        async with self._probing:
            while self._down_since is not None:
                await self._clock.wait(self._changed, self._again_at)
                self._changed.clear()
                with suppress(StoreError):
                    await self._entries("")

    async def read(self, request: ReadRequest) -> Reading:
        """The entry named by `path`: its current version, or the one asked for."""
        if request.data is not None:
            raise self._invalid("read", request.path, "a local store is not written to (`data`)")
        entry = (await self._entries(request.path)).entries.get(request.path)
        if entry is None:
            raise Missing("read", self.name, request.path, "there is no entry of this name")
        version = entry.current if request.version is None else entry.version(request.version)
        if version is None:
            reason = f"version {request.version} is not kept; the current one is "
            raise Missing("read", self.name, request.path, f"{reason}{entry.current.number}")
        return Reading(Secret(version.values()), str(version.number))

    async def renew(self, lease: Lease) -> Lease:
        """Never: there are no leases here."""
        raise self._invalid("renew", lease.id, "a local store has no leases")

    async def revoke(self, lease: Lease) -> None:
        """Never: there are no leases here."""
        raise self._invalid("revoke", lease.id, "a local store has no leases")

    def forget(self, lease: Lease) -> None:
        """Nothing is counted here."""

    def parent(self, lease: Lease) -> Parent:
        """Nothing dies here."""
        return Parent(is_alive=True)

    def on_parent_change(self, callback: OnParentChange) -> None:
        """Never called: what leases hang on does not exist here."""

    def on_change(self, callback: OnChange) -> None:
        """`callback()` when the file or its key has changed."""
        self._callbacks.append(callback)

    async def close(self, *, is_final: bool = True) -> None:
        """Forget what was decrypted."""
        self._file.forget()

    async def _entries(self, path: str) -> Entries:
        """Read once for all who ask at the same time."""
        async with self._reading:
            try:
                entries = await asyncio.to_thread(self._file.load)
            except SealedFileError as error:
                if not error.is_lasting:
                    self._is_down(str(error))
                    raise Outage("read", self.name, path, str(error)) from None
                self._is_back()
                raise self._invalid("read", path, str(error)) from None
        self._is_back()
        return entries

    def _is_down(self, reason: str) -> None:
        now = self._clock.now()
        self._again_at = now + self._backoff.delay()
        if self._down_since is None:
            self._down_since = now
            self._emit(StoreDown(store=self.name, reason=reason))

    def _is_back(self) -> None:
        self._backoff.reset()
        if self._down_since is not None:
            down_seconds = self._clock.now() - self._down_since
            self._down_since = None
            self._emit(StoreBack(store=self.name, down_seconds=down_seconds))

    def _invalid(self, operation: str, path: str, reason: str) -> Invalid:
        return Invalid(operation, self.name, path, reason)


def open_store(
    name: str, spec: model.LocalStore, *, clock: Clock, files: FileChanges, emit: Emit
) -> LocalStore:
    """The store that the configuration describes; nothing is read yet."""
    return LocalStore(name, EntriesFile(spec.file, spec.key), clock=clock, files=files, emit=emit)
