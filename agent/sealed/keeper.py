"""When the book is written: whenever something changed that the next run should know.

A write takes what is true when it begins, in a thread, one at a time; whoever asks meanwhile shares
the next one. What can't be written is said once and tried again: a cache that fails holds up
nobody and costs no secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from agent.core import events
from agent.core.backoff import Backoff
from agent.core.book import Book
from agent.core.clock import Clock
from agent.core.errors import SealedFileError
from agent.core.events import Emit, Event
from agent.sealed.file import SealedBook

SOON_EVERY = 1.0
"""The first change after quiet is written at once, those that follow together after this time."""
LATER_EVERY = 60.0
"""Unchanged reads are a matter of proof, not of values."""
WRITING_SHARE = 0.05
"""The most of the time that is spent writing because of changes: a large book is written less."""
LONGEST_SEAL = 5.0
"""Nobody waits longer than this for a disk."""

SOON: tuple[type[Event], ...] = (
    events.BundleConfirmed,
    events.BundleCurrent,
    events.BundlePublished,
    events.BundleRestored,
    events.BundleRolledBack,
    events.LeaseLeft,
    events.LeaseLost,
    events.LeaseRenewed,
    events.LeaseRevoked,
    events.LoggedIn,
    events.Reloaded,
    events.SecretExpired,
    events.SecretRefused,
    events.TokenEnding,
    events.TokenLost,
    events.TokenRenewed,
    events.TokenResumed,
    events.TokenRevoked,
)

Gather = Callable[[], Book]
"""What is worth keeping as of now; called on the loop. Instants of writing are the keeper's."""


class Keeper:
    """Listens to events; `seal` is for who must know that what is known is on the disk."""

    def __init__(
        self,
        file: SealedBook,
        gather: Gather,
        *,
        clock: Clock,
        emit: Emit = events.nobody,
        backoff: Backoff | None = None,
    ) -> None:
        self._file, self._gather, self._clock, self._emit = file, gather, clock, emit
        self._backoff = backoff or Backoff()
        self._asked = self._ended = 0
        self._due_at: float | None = None
        self._pause = SOON_EVERY
        self._last_at = self._retry_at = float("-inf")
        self._is_due_sooner, self._write_ended = asyncio.Event(), asyncio.Event()
        self._writing = asyncio.Lock()
        self._is_last = self._is_closed = False
        self._failing_since: float | None = None
        self._reason = ""

    async def run(self) -> None:
        """Write whenever a write is due; never returns."""
        while True:
            self._is_due_sooner.clear()
            if self._due_at is None or self._due_at > self._clock.now():
                await self._clock.wait(self._is_due_sooner, self._due_at)
            else:
                await self._write()

    def __call__(self, event: Event) -> None:
        """Some events are changes that are to be kept."""
        if isinstance(event, SOON) or (isinstance(event, events.SecretRead) and event.is_changed):
            self._due(max(self._clock.now(), self._last_at + self._pause, self._retry_at))
        elif isinstance(event, events.SecretRead):
            self._due(max(self._last_at + LATER_EVERY, self._retry_at))

    async def seal(self) -> None:
        """What is known now is on disk, or could not be written, or LONGEST_SEAL has passed."""
        if self._is_closed:
            return
        self._asked += 1
        mine, deadline = self._asked, self._clock.now() + LONGEST_SEAL
        self._due(self._clock.now())
        while self._ended < mine and not self._is_closed:
            if not await self._clock.wait(self._write_ended, deadline):
                self._tell(str(self._file.path), f"takes longer than {LONGEST_SEAL:g} s", None)
                return

    async def close(self) -> None:
        """A last write; nothing is written afterwards."""
        if not self._is_closed:
            self._is_last = True
            await self._write()
            self._is_closed, self._due_at = True, None
            self._write_ended.set()

    # --- inside -------------------------------------------------------------------------------

    def _due(self, at: float) -> None:
        """There is something to write by then."""
        if not self._is_closed and (self._due_at is None or at < self._due_at):
            self._due_at = at
            self._is_due_sooner.set()

    async def _write(self) -> None:
        async with self._writing:
            if self._is_closed:
                return
            self._due_at, self._last_at = None, self._clock.now()
            asked = self._asked
            book = replace(self._gather(), now=self._last_at, wall=self._clock.wall())
            try:
                written = await asyncio.to_thread(self._file.save, book)
            except SealedFileError as error:
                self._failed(error)
            else:
                self._succeeded(written)
            self._ended = asked
            ended, self._write_ended = self._write_ended, asyncio.Event()
            ended.set()

    def _failed(self, error: SealedFileError) -> None:
        if self._is_last:  # what is in the file is all that the next run will know
            self._tell(
                error.file, f"{error.reason}; the next run finds an older state, or none", None
            )
            return
        retry_after = self._backoff.delay()
        self._retry_at = self._clock.now() + retry_after
        self._due(self._retry_at)
        self._tell(error.file, error.reason, retry_after)

    def _tell(self, file: str, reason: str, retry_after: float | None) -> None:
        is_news, self._reason = reason != self._reason, reason
        if self._failing_since is None:
            self._failing_since = self._clock.now()
        self._emit(
            events.CacheFailed(file=file, reason=reason, is_news=is_news, retry_after=retry_after)
        )

    def _succeeded(self, written: int) -> None:
        now = self._clock.now()
        took = now - self._last_at
        self._pause = min(max(SOON_EVERY, took / WRITING_SHARE), LATER_EVERY)
        self._emit(events.CacheWritten(bytes=written, seconds=took))
        if self._failing_since is not None:
            self._emit(events.CacheBack(down_seconds=now - self._failing_since))
        self._failing_since, self._reason, self._retry_at = None, "", float("-inf")
        self._backoff.reset()
        self._due(now + self._file.max_age / 2)  # nothing may change for longer than a book is good


async def take_up(file: SealedBook, *, clock: Clock, emit: Emit) -> Book | None:
    """The book of the run before; None, and said why, where there is none that is of use."""
    try:
        book = await asyncio.to_thread(file.load, clock.now(), clock.wall())
    except SealedFileError as error:
        emit(events.CacheRefused(file=error.file, reason=error.reason))
        return None
    if book is not None:
        age = clock.now() - book.now
        emit(events.CacheTakenUp(age_seconds=age, secrets=len(book.secrets)))
    return book
