"""The local store as watchers see it: names are paths, a version is a number, nothing is leased."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from agent.config import model
from agent.core.backoff import Backoff
from agent.core.book import KeptStore, fingerprint
from agent.core.clock import Clock
from agent.core.errors import Invalid, Missing, Outage, SealedFileError, StoreError
from agent.core.events import Emit, StoreBack, StoreDown
from agent.core.file_changes import FileChanges
from agent.core.lease import Lease
from agent.core.secret import Reading, Secret
from agent.stores.base import Parent, ReadRequest, Subscriber, Subscribers
from agent.stores.local.entries import Entries
from agent.stores.local.file import EntriesFile


class LocalStore:
    """An encrypted file that is read again when it, or its key, changes.

    A file that can't be read just now is an outage. A wrong key or an altered file is not: until
    somebody changes one of them, reading again would tell the same.
    """

    def __init__(
        self, name: str, file: EntriesFile, *, clock: Clock, changes: FileChanges, emit: Emit
    ) -> None:
        self.name = name
        self._file = file
        self._clock = clock
        self._changes = changes
        self._emit = emit
        self._reading = asyncio.Lock()
        self._subscribers = Subscribers()
        self._changed, self._down = asyncio.Event(), asyncio.Event()
        self._backoff = Backoff()
        self._down_since = self._again_at = 0.0
        self._down_reason = ""

    @property
    def refusal(self) -> StoreError | None:
        """Never: there is no login."""
        return None

    @property
    def trouble(self) -> StoreError | None:
        """The outage, while there is one."""
        if self.is_ready:
            return None
        return Outage("read", self.name, "", self._down_reason)

    @property
    def is_ready(self) -> bool:
        """The file could be read, when last tried."""
        return not self._down.is_set()

    async def run(self) -> None:
        """Tell of changes to the file and its key; while it can't be read, try again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name=f"{self.name}: changes of the file")
            tasks.create_task(self._try_until_back(), name=f"{self.name}: back after an outage")

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

    def kept(self) -> KeptStore:
        """Nobody logs in; the file is the place."""
        return KeptStore(fingerprint("local", str(self._file.path)))

    def restore(self, kept: KeptStore, *, is_ending: bool) -> None:
        """There is no identity."""

    def adopt(self, lease: Lease) -> None:
        """Nothing is counted here."""

    def forget(self, lease: Lease, *, lives_on: bool = False) -> None:
        """Nothing is counted here."""

    def parent(self, lease: Lease) -> Parent:
        """Nothing dies here."""
        return Parent(is_alive=True)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Tell the subscriber when the file or its key has changed; the answer takes it off."""
        return self._subscribers.subscribe(subscriber)

    async def close(self, *, is_final: bool = True) -> None:
        """Forget what was decrypted."""
        self._file.forget()

    async def _follow(self) -> None:
        with self._changes.watch(self._file.path, self._file.key_path) as changed:
            while True:
                await self._clock.wait(changed)
                changed.clear()
                self._changed.set()
                self._subscribers.refresh()

    async def _try_until_back(self) -> None:
        while True:
            await self._clock.wait(self._down)
            self._changed.clear()
            await self._clock.wait(self._changed, self._again_at)
            with suppress(StoreError):
                await self._entries("")

    async def _entries(self, path: str) -> Entries:
        """Read and decrypted once for all who ask at the same time."""
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
        self._down_reason = reason
        if not self._down.is_set():
            self._down.set()
            self._down_since = now
            self._emit(StoreDown(store=self.name, reason=reason))

    def _is_back(self) -> None:
        self._backoff.reset()
        if self._down.is_set():
            self._down.clear()
            self._emit(
                StoreBack(store=self.name, down_seconds=self._clock.now() - self._down_since)
            )
            self._subscribers.look_again()

    def _invalid(self, operation: str, path: str, reason: str) -> Invalid:
        return Invalid(operation, self.name, path, reason)


def open_store(
    name: str, spec: model.LocalStore, *, clock: Clock, changes: FileChanges, emit: Emit
) -> LocalStore:
    """The store that the configuration describes; nothing is read yet."""
    return LocalStore(
        name, EntriesFile(spec.file, spec.key), clock=clock, changes=changes, emit=emit
    )
