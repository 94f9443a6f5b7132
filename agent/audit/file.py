"""`ChainedFile`: records at the end of a file, in one chain over rotations and restarts. Blocks.

    FILE, FILE.1 … FILE.keep     the newest first
    FILE.head                    the last record's number and value: what tells of a tail cut off
    FILE.key                     the key, where the configuration names none

A *head* record begins each file and each run: it tells which record it goes on from, so that the
chain can be followed where older files are gone, and what was found amiss. One thread at a time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.audit import place, tail
from agent.audit.chain import Keys, Link, line_of
from agent.audit.record import Bodies, Stamped
from agent.config.model import Audit, LocalKey
from agent.core.clock import Clock
from agent.core.errors import AuditError, ConfigurationError, SealedFileError
from agent.stores.sealed_file import make_key, read_key

LOOK_EVERY = 1.0
"""Seconds between two looks at whether the file is still the one of its name."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ChainedFile:
    """`open` first, `close` last. `noticed` collects what somebody should be told."""

    def __init__(self, spec: Audit, path: Path, clock: Clock) -> None:
        self.path = path
        self.noticed: list[str] = []
        self._spec, self._clock = spec, clock
        self._bodies = Bodies()
        self._keys = Keys(b"")
        self._link = Link()
        self._first_seq = 1
        self._boot = ""
        self._descriptor = -1
        self._inode: place.Inode | None = None
        self._size = self._torn = 0
        self._head: dict[str, Any] | None = None
        self._look_at = self._rotate_at = float("-inf")

    def open(self) -> None:
        """ConfigurationError for a key that can't be used, AuditError for a file that is not ours
        alone; that its disk is full is told by the first `write`.
        """
        place.make_directory(self.path)
        place.refuse_shared_directory(self.path)
        self._keys = Keys(self._root_key())
        self._boot = (place.read_small(BOOT_ID, 64) or b"").decode().strip()
        self._use(place.open_to_append(self.path))
        self._go_on()

    def write(self, records: Sequence[Stamped]) -> list[bytes]:
        """Put them at the end, all or none; the lines. AuditError if they could not be written."""
        self._look()
        if self._is_full():
            self._rotate()
        link, lines = self._chained(records)
        if lines:
            self._put((b"\n" if self._torn else b"") + b"".join(lines))
        self._link, self._head, self._torn = link, None, 0
        return lines

    def keep_head(self, *, is_closed: bool = False) -> None:
        """Rewrite FILE.head; AuditError if that can't be."""
        link, is_synced = self._link, is_closed or self._spec.sync
        head = tail.Head(link.seq, link.chain.hex(), self._first_seq, is_closed, self._boot)
        try:
            tail.write_head(self.path, self._keys, head, is_synced=is_synced)
        except OSError as error:
            raise AuditError(str(tail.head_path(self.path)), _why(error)) from None

    def look_again(self) -> None:
        """Before the next writing, look whether the file was moved away."""
        self._look_at = float("-inf")

    def close(self) -> None:
        """Let another agent have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_full(self) -> bool:
        """A torn line is told of in its own file."""
        is_large = self._size >= self._spec.max_size and not self._torn
        return is_large and self._clock.now() >= self._rotate_at

    # --- writing ------------------------------------------------------------------------------

    def _chained(self, records: Sequence[Stamped]) -> tuple[Link, list[bytes]]:
        seq, chain = self._link.seq, self._link.chain
        lines: list[bytes] = []
        if self._head is not None or self._torn:
            records = [self._head_record(), *records]
        encode, value = self._bodies.encode, self._keys.value
        for record in records:
            seq += 1
            body = encode(record, seq)
            chain = value(chain, body)
            lines.append(line_of(body, chain))
        return Link(seq, chain), lines

    def _head_record(self) -> Stamped:
        last = {"last_seq": self._link.seq, "last_chain": self._link.chain.hex()}
        torn = {"torn_bytes": self._torn} if self._torn else {}
        told = self._head or {"reason": "torn"}
        record = {"event": "head", "format": 1, **told, **last, **torn}
        return Stamped(self._clock.wall(), self._clock.now(), record)

    def _put(self, content: bytes) -> None:
        try:
            place.write_all(self._descriptor, content)
            if self._spec.sync:
                os.fdatasync(self._descriptor)
        except OSError as error:
            self._undo()
            raise AuditError(str(self.path), _why(error)) from None
        self._size += len(content)

    def _undo(self) -> None:
        """Take back the part that was written; where that can't be, the next line begins anew."""
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            size = os.fstat(self._descriptor).st_size
            self._torn += max(0, size - self._size)
            self._size = size

    # --- the file of that name ----------------------------------------------------------------

    def _use(self, descriptor: int) -> None:
        self.close()
        status = os.fstat(descriptor)
        self._descriptor, self._size = descriptor, status.st_size
        self._inode = (status.st_dev, status.st_ino)

    def _look(self) -> None:
        """Somebody may have moved the file away (logrotate does), or cut it."""
        now = self._clock.now()
        if now - self._look_at < LOOK_EVERY:
            return
        if place.inode_of(self.path) != self._inode:
            self._reopen()
        elif os.fstat(self._descriptor).st_size < self._size:
            self.noticed.append(f"{self.path} was cut while the agent wrote to it")
            self._size, self._torn = os.fstat(self._descriptor).st_size, 0
            self._head = {"reason": "cut"}
        self._look_at = now

    def _reopen(self) -> None:
        self._use(place.open_to_append(self.path))
        self.noticed.append(f"{self.path} was moved away or deleted; records go on in a new one")
        self._torn, self._head = 0, {"reason": "moved"}
        if self._size:  # it is none of ours
            ends = tail.read_tail(self.path)
            self._torn = 0 if ends is None else ends.torn_bytes

    def _rotate(self) -> None:
        """FILE becomes FILE.1; where that can't be, the file grows on, and it is tried again."""
        self._give_up_oldest()
        try:
            self._shift()
            self._use(place.open_to_append(self.path))
        except (OSError, AuditError) as error:
            reason = _why(error) if isinstance(error, OSError) else error.reason
            self.noticed.append(f"{self.path} can't be rotated: {reason}")
            self._rotate_at = self._clock.now() + LOOK_EVERY
            return
        self._torn, self._head = 0, {"reason": "rotated"}

    def _give_up_oldest(self) -> None:
        """Before records go, the head says so: a kill in between is no mischief."""
        keep = self._spec.keep
        if keep and not numbered(self.path, keep).exists():
            return
        left = tail.first_seq(numbered(self.path, keep - 1)) if keep else self._link.seq + 1
        self._first_seq = left or self._first_seq
        with suppress(AuditError):  # told when it is written next
            self.keep_head()

    def _shift(self) -> None:
        number = self._spec.keep + 1
        while (beyond := numbered(self.path, number)).exists():  # more were kept once
            beyond.unlink()
            number += 1
        if self._spec.keep == 0:
            self.path.unlink()
            return
        for number in range(self._spec.keep, 0, -1):
            older = numbered(self.path, number - 1)
            if number == 1 or older.exists():
                older.replace(numbered(self.path, number))

    def _oldest_seq(self, otherwise: int) -> int:
        for number in range(self._spec.keep, -1, -1):
            found = tail.first_seq(numbered(self.path, number))
            if found is not None:
                return found
        return otherwise

    # --- a new start --------------------------------------------------------------------------

    def _go_on(self) -> None:
        """From where the run before has left off, saying what is not as that left it."""
        ends = tail.read_tail(self.path) or tail.Tail(None, 0, 0)
        before = None if ends.size else tail.read_tail(numbered(self.path, 1))
        last = ends.last or (before.last if before else None)
        head, told = self._remembered(last)
        self._link, self._torn = last or Link(), ends.torn_bytes
        if head is not None:
            told |= self._compared(last or Link(), head)
        self._first_seq = head.first_seq if head else self._oldest_seq(self._link.seq + 1)
        self._head = {"reason": "start", **told}
        if head is None and last is None:
            self._begin()

    def _root_key(self) -> bytes:
        file = key_path(self._spec, self.path)
        try:
            if self._spec.key is None and not file.exists():
                if tail.first_seq(self.path) is not None:
                    self.noticed.append(f"{file} is missing: what was recorded can't be proven")
                make_key(file)
            return read_root_key(file)
        except SealedFileError as error:
            raise ConfigurationError([f"audit.key: {error}"]) from None

    def _begin(self) -> None:
        """The head comes before the first record, so that it is never missing by chance."""
        with suppress(AuditError):  # the first `write` says why
            self.keep_head()

    def _remembered(self, last: Link | None) -> tuple[tail.Head | None, dict[str, Any]]:
        try:
            head = tail.read_head(self.path, self._keys)
        except AuditError as error:
            self.noticed.append(str(error))
            return None, {"head_lost": True}
        if head is None and last is not None:
            where = tail.head_path(self.path)
            self.noticed.append(f"{where} is missing: nobody can tell whether records were cut off")
            return None, {"head_lost": True}
        return head, {}

    def _compared(self, last: Link, head: tail.Head) -> dict[str, Any]:
        if last.seq < head.seq:
            self._link = head.link
            is_crash = not head.is_closed and head.boot != self._boot
            why = "the machine went down, or they were" if is_crash else "they were"
            what = f"records {last.seq + 1} to {head.seq} are missing from {self.path}"
            self.noticed.append(f"{what}: {why} cut off, or the file was moved away")
            return {"missing": [last.seq + 1, head.seq], "after_crash": is_crash}
        if last.seq == head.seq and last != head.link:
            self.noticed.append(f"the last record of {self.path} is not the one that was written")
        return {}


def numbered(path: Path, number: int) -> Path:
    """FILE itself for 0."""
    return path.with_name(f"{path.name}.{number}") if number else path


def key_path(spec: Audit, path: Path) -> Path:
    return spec.key.file if spec.key else path.with_name(f"{path.name}.key")


def read_root_key(file: Path) -> bytes:
    """The key of a key file; SealedFileError if it can't be used."""
    return read_key(LocalKey(file=file)).root(None)


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
