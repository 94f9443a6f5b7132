"""`Audit`: from the event loop to the file, in order, one write for each turn of the loop.

Error policy: what can't be written is said once, until it can. Meanwhile `closed` refuses every
request, `open` lets them be answered; either way a `gap` record tells how many when writing works
again. Every further request is a try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from agent.audit.changes import change
from agent.audit.file import ChainedFile
from agent.audit.record import Record, Stamped
from agent.audit.sinks import Copies, Unchained, sinks_of
from agent.audit.worker import Worker
from agent.config.model import Audit as AuditSpec
from agent.core.clock import Clock
from agent.core.errors import AuditError
from agent.core.events import (
    AuditBack,
    AuditCopyBack,
    AuditCopyFailed,
    AuditFailed,
    AuditSuspect,
    Emit,
    Event,
)

HEAD_EVERY = 1.0
"""Seconds between two writings of FILE.head: so much of the end could be cut off unseen after a
crash, and nothing after an orderly end."""

Done = Callable[[bool], None]


class Book(Protocol):
    """The place that decides whether a record is written."""

    noticed: list[str]

    def open(self) -> None: ...
    def write(self, records: Sequence[Stamped]) -> list[bytes]: ...
    def keep_head(self, *, is_closed: bool = False) -> None: ...
    def look_again(self) -> None: ...
    def close(self) -> None: ...


class _Outcome(msgspec.Struct):
    """Of one writing, in the thread: why not, and what is to be told on the loop."""

    error: AuditError | None = None
    events: list[Event] = []


class _Gap(msgspec.Struct):
    """What was not written since the place failed, at an instant."""

    since: float
    lost: int = 0
    refused: int = 0

    def record(self, clock: Clock) -> Stamped:
        said = {"event": "gap", "lost": self.lost, "refused": self.refused}
        seconds = round(clock.now() - self.since, 3)
        return Stamped(clock.wall(), clock.now(), {**said, "seconds": seconds})


class Audit:
    """One agent's audit: `open` first, `run` while it lives, `close` last; an event listener, too.

    A thread of its own writes, so that no other work in threads holds up answers.
    """

    def __init__(self, spec: AuditSpec, *, clock: Clock, emit: Emit) -> None:
        self._spec, self._clock, self._emit = spec, clock, emit
        sinks = [Copies(each, clock) for each in sinks_of(spec)]
        self._book: Book = (
            ChainedFile(spec, spec.file, clock) if spec.file else Unchained(sinks.pop(0), clock)
        )
        self._copies = sinks
        self._worker = Worker("audit")
        self._pending: list[tuple[Stamped, Done | None]] = []
        self._is_writing = False
        self._is_idle, self._is_dirty = asyncio.Event(), asyncio.Event()
        self._is_idle.set()
        self._gap: _Gap | None = None
        self._is_open = self._is_closed = self._has_no_head = False

    # --- one run ------------------------------------------------------------------------------

    async def open(self) -> None:
        """ConfigurationError, or AuditError for a place that is not fit; a full disk is told."""
        self._loop = asyncio.get_running_loop()
        try:
            await self._in_thread(self._book.open)
        except BaseException:
            self._worker.end()
            raise
        self._is_open = True
        self._write_soon()  # the head, though there is no record yet
        await self._is_idle.wait()
        self._tell(await self._in_thread(self._kept_head))

    async def run(self) -> None:
        """Keep the head; never returns."""
        while True:
            await self._clock.wait(self._is_dirty)
            await self._clock.sleep(HEAD_EVERY)
            self._is_dirty.clear()
            self._tell(await self._in_thread(self._kept_head))

    def reopen(self) -> None:
        """Somebody may have moved the file away (SIGHUP): look before the next writing."""
        if not self._is_closed:
            self._worker.do(self._book.look_again)

    async def close(self) -> None:
        """Write what is left, and that this was the end."""
        self.append({"event": "state", "change": "agent_stopped"})
        self._is_closed = True
        while self._is_writing:
            await self._is_idle.wait()
        self._tell(await self._in_thread(self._closed))
        self._worker.end()

    @property
    def is_failing(self) -> bool:
        """Nothing can be written, as far as is known."""
        return self._gap is not None

    # --- records ------------------------------------------------------------------------------

    def append(self, record: Record, done: Done | None = None) -> None:
        """Record it; then `done`: True if it is written, or need not be (`open`). On the loop.

        Before `open` it is kept; after `close` nothing is recorded.
        """
        if self._is_closed:
            if done is not None:
                done(False)
            return
        self._pending.append((Stamped(self._clock.wall(), self._clock.now(), record), done))
        if self._is_open and not self._is_writing:
            self._write_soon()

    def __call__(self, event: Event) -> None:
        """Record the event, if it changes something."""
        record = change(event)
        if record is not None:
            self.append(record)

    # --- on the loop --------------------------------------------------------------------------

    def _write_soon(self) -> None:
        """Once all that is ready on the loop has had its turn."""
        self._is_writing = True
        self._is_idle.clear()
        self._loop.call_soon(self._start)

    def _start(self) -> None:
        batch, self._pending = self._pending, []
        gap = None if self._gap is None else self._gap.record(self._clock)
        self._worker.do(partial(self._work, batch, gap))

    def _written(
        self, batch: list[tuple[Stamped, Done | None]], outcome: _Outcome | Exception
    ) -> None:
        self._is_dirty.set()
        self._is_writing = False
        if self._pending:
            self._write_soon()
        else:
            self._is_idle.set()
        waiting = [done for _, done in batch if done is not None]
        if isinstance(outcome, Exception):  # a defect
            self._answer(iter(waiting), False)
            raise outcome
        is_good = outcome.error is None
        self._count(outcome.error, len(batch), len(waiting))
        self._tell(outcome)
        self._answer(iter(waiting), is_good or self._spec.on_error == "open")

    def _answer(self, waiting: Iterator[Done], is_written: bool) -> None:
        """One that raises keeps none of the others waiting."""
        try:
            for done in waiting:
                done(is_written)
        except BaseException:
            self._loop.call_soon(self._answer, waiting, is_written)
            raise

    def _count(self, error: AuditError | None, records: int, asked: int) -> None:
        is_closed = self._spec.on_error == "closed"
        if error is None:
            gap, self._gap = self._gap, None
            if gap is not None:
                down = self._clock.now() - gap.since
                self._emit(AuditBack(lost=gap.lost, refused=gap.refused, down_seconds=down))
            return
        if self._gap is None:
            self._gap = _Gap(self._clock.now())
            self._emit(AuditFailed(place=error.place, reason=error.reason, is_closed=is_closed))
        refused = asked if is_closed else 0
        self._gap.refused += refused
        self._gap.lost += records - refused

    def _tell(self, outcome: _Outcome) -> None:
        for event in outcome.events:
            self._emit(event)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await self._worker.result(work)

    # --- in the thread ------------------------------------------------------------------------

    def _work(self, batch: list[tuple[Stamped, Done | None]], gap: Stamped | None) -> None:
        outcome: _Outcome | Exception
        try:
            outcome = self._write([each for each, _ in batch], gap)
        except Exception as defect:  # noqa: BLE001  # raised on the loop
            outcome = defect
        self._loop.call_soon_threadsafe(self._written, batch, outcome)

    def _write(self, records: list[Stamped], gap: Stamped | None) -> _Outcome:
        try:
            lines = self._book.write(records if gap is None else [gap, *records])
        except AuditError as error:
            return _Outcome(error, self._noticed())
        return _Outcome(None, [*self._noticed(), *self._copied(lines)])

    def _copied(self, lines: list[bytes]) -> Iterator[Event]:
        for copies in self._copies if lines else ():
            lost = copies.lost
            try:
                copies.send(lines)
            except AuditError as error:
                if not lost:
                    yield AuditCopyFailed(place=error.place, reason=error.reason)
            else:
                if lost:
                    yield AuditCopyBack(place=copies.place, lost=lost)

    def _noticed(self) -> list[Event]:
        noticed, self._book.noticed = self._book.noticed, []
        return [AuditSuspect(text=text) for text in noticed]

    def _kept_head(self, *, is_closed: bool = False) -> _Outcome:
        """A head that can't be written is told once: a cut at the end could not be found."""
        try:
            self._book.keep_head(is_closed=is_closed)
        except AuditError as error:
            text = f"{error.place}: can't be written: {error.reason}"
            told: list[Event] = [] if self._has_no_head else [AuditSuspect(text=text)]
            self._has_no_head = True
            return _Outcome(error, told)
        self._has_no_head = False
        return _Outcome()

    def _closed(self) -> _Outcome:
        outcome = self._kept_head(is_closed=True)
        self._book.close()
        for copies in self._copies:
            copies.close()
        return outcome
