"""`SealedBook`: the cache's file, and its head. Everything blocks: whole operations, for threads.

    FILE        a book, encrypted; its first line counts the writings
    FILE.head   the number of the last one, encrypted likewise (`head:` puts it elsewhere)
    FILE.lock   held while an agent uses the cache

The head is written after the file. So a file is as old as its head says, or one writing newer (of
an agent that was killed between the two); anything else is somebody's doing, and refused. A *line*,
drawn anew whenever counting starts again, tells the files of one head from those of another.

What is refused is set aside as FILE.refused, and the next writing begins a new line.
"""

from __future__ import annotations

import secrets
import threading

import msgspec
from msgspec.structs import replace

from agent.config.model import Cache
from agent.core.book import Book
from agent.core.clock import rfc3339
from agent.core.errors import AgentError, SealedFileError
from agent.core.events import duration
from agent.core.sealing import MAX_HEADER_BYTES, TAG_BYTES, Opened
from agent.sealed import disk
from agent.sealed.encoding import decode, encode
from agent.sealed.host import Host, this_host
from agent.sealed.keys import Keys, read_keys
from agent.sealed.lock import Lock

PURPOSE = "cache"
HEAD_PURPOSE = "cache head"
LINE_BYTES = 16
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
MAX_CONTENT_BYTES = MAX_PAYLOAD_BYTES + MAX_HEADER_BYTES + TAG_BYTES
MAX_HEAD_BYTES = 4096


class _Standing(msgspec.Struct, frozen=True):
    """The line that is written on, its last number, and whether the head on disk says so."""

    line: bytes
    sequence: int = 0
    has_head: bool = False

    @classmethod
    def anew(cls) -> _Standing:
        return cls(secrets.token_bytes(LINE_BYTES))


class SealedBook:
    """One agent's cache. `open` comes first, `close` last; in between from any thread."""

    def __init__(self, spec: Cache, *, host: Host | None = None) -> None:
        self.path = spec.file
        self.head = spec.head or spec.file.with_name(f"{spec.file.name}.head")
        self.max_age = spec.max_age
        self._spec, self._host = spec, host
        self._keys: Keys | None = None
        self._lock = Lock(spec.file)
        self._standing = _Standing.anew()
        self._newest = float("-inf")
        self._one_at_a_time = threading.Lock()

    def open(self) -> None:
        """ConfigurationError for a key that can't be used, SealedFileError if another agent is on
        this cache; nothing else is wrong enough to start without it.
        """
        self._keys = read_keys(self._spec.key)
        self._host = self._host or this_host()
        disk.make_directory(self.path)
        self._lock.hold()

    def try_out(self) -> None:
        """As `open`, but nothing is made and no lock is held; also SealedFileError for a directory
        that a cache can't be in.
        """
        read_keys(self._spec.key)
        self._refuse_shared_directories()

    def close(self) -> None:
        """Let another agent have it."""
        self._lock.release()

    def load(self, now: float, wall: float) -> Book | None:
        """What the run before left, its instants as of this run's clock; None without a file.

        SealedFileError if it can't be used: it has been set aside then, and nothing is lost.
        """
        with self._one_at_a_time:
            try:
                self._refuse_shared_directories()
            except SealedFileError as error:
                raise SealedFileError(
                    error.file, f"{error.reason}; the cache is not used"
                ) from None
            try:
                return self._load(now, wall)
            except SealedFileError as error:
                self._standing = _Standing.anew()
                reason = error.reason + self._set_aside()
                raise SealedFileError(error.file, reason, is_lasting=error.is_lasting) from None

    def save(self, book: Book) -> int:
        """Write it, of this host and boot; how many bytes it took.

        SealedFileError if it could not be written: what was there is there still. A book older than
        one that was written is not: two threads may be on their way.
        """
        payload = self._payload(book)
        with self._one_at_a_time:
            if book.now < self._newest:
                return len(payload)
            self._lock.hold()
            self._refuse_shared_directories()
            if not self._standing.has_head:
                self._write_head(self._standing)
            following = replace(self._standing, sequence=self._standing.sequence + 1)
            content = following.line + payload
            sealed = self._in_use.seal(content, purpose=PURPOSE, sequence=following.sequence)
            disk.write(self.path, sealed)
            self._write_head(following)
            self._newest = book.now
            return len(sealed)

    # --- inside -------------------------------------------------------------------------------

    @property
    def _in_use(self) -> Keys:
        if self._keys is None:
            raise AgentError(f"{self.path}: the cache is used before it is opened")
        return self._keys

    @property
    def _here(self) -> Host:
        self._host = self._host or this_host()
        return self._host

    def _refuse_shared_directories(self) -> None:
        for path in (self.path, self.head):
            disk.refuse_shared_directory(path)

    def _payload(self, book: Book) -> bytes:
        try:
            payload = encode(replace(book, host=self._here.id, boot=self._here.boot))
        except ValueError as error:
            raise SealedFileError(str(self.path), str(error)) from None
        if len(payload) > MAX_PAYLOAD_BYTES - LINE_BYTES:
            limit = MAX_PAYLOAD_BYTES // 2**20
            raise SealedFileError(str(self.path), f"would have more than {limit} MiB; not written")
        return payload

    def _write_head(self, standing: _Standing) -> None:
        sealed = self._in_use.seal(standing.line, purpose=HEAD_PURPOSE, sequence=standing.sequence)
        disk.write(self.head, sealed)
        self._standing = replace(standing, has_head=True)

    def _load(self, now: float, wall: float) -> Book | None:
        content = disk.read(self.path, MAX_CONTENT_BYTES)
        head = self._read_head()
        if content is None:
            if head is not None and head.sequence > 0:
                raise SealedFileError(
                    str(self.path), f"is missing, but {self.head} tells of it: was it removed?"
                )
            return None
        opened = self._in_use.unseal(content, purpose=PURPOSE, name=str(self.path))
        line, book = self._taken_apart(opened)
        if head is None:
            self._refuse_lost_head(book)
        else:
            self._refuse_rollback(line, opened.sequence, head)
        if book.host != self._here.id:
            raise SealedFileError(str(self.path), "is of another host, or of another container")
        shifted = self._in_time(book, now, wall)
        is_told = head is not None and head.sequence == opened.sequence
        self._standing = _Standing(line, opened.sequence, is_told)
        return shifted

    def _read_head(self) -> Opened | None:
        content = disk.read(self.head, MAX_HEAD_BYTES)
        if content is None:
            return None
        return self._in_use.unseal(content, purpose=HEAD_PURPOSE, name=str(self.head))

    def _taken_apart(self, opened: Opened) -> tuple[bytes, Book]:
        try:
            return opened.payload[:LINE_BYTES], decode(opened.payload[LINE_BYTES:])
        except ValueError as error:
            raise SealedFileError(str(self.path), str(error)) from None

    def _refuse_lost_head(self, book: Book) -> None:
        """A head that was put elsewhere may have been in memory, which a boot empties."""
        is_of_this_boot = book.boot == self._here.boot
        if self._spec.head is None or is_of_this_boot:
            raise SealedFileError(
                str(self.head), "is missing: nobody can tell whether the cache is an older copy"
            )

    def _refuse_rollback(self, line: bytes, sequence: int, head: Opened) -> None:
        if line != head.payload:
            raise SealedFileError(str(self.path), f"does not belong to {self.head}")
        if sequence < head.sequence:
            counted = f"writing {sequence}, where {self.head} tells of {head.sequence}"
            raise SealedFileError(str(self.path), f"is an older copy ({counted})")
        if sequence > head.sequence + 1:
            counted = f"writing {head.sequence}, where {self.path} is {sequence}"
            raise SealedFileError(str(self.head), f"is an older copy ({counted})")

    def _in_time(self, book: Book, now: float, wall: float) -> Book:
        """Within one boot the clock goes on; from one to the next only wall time does."""
        is_same_boot = bool(book.boot) and book.boot == self._here.boot and book.now <= now
        age = now - book.now if is_same_boot else wall - book.wall
        if age < 0:
            written, stands = rfc3339(book.wall), rfc3339(wall)
            raise SealedFileError(
                str(self.path),
                f"was written at {written}, before the machine started again, and its clock stands "
                f"at {stands}: nobody can tell what has expired",
            )
        if age > self.max_age:
            limit = duration(self.max_age)
            raise SealedFileError(str(self.path), f"is {duration(age)} old, and max_age is {limit}")
        return book.shifted(0.0 if is_same_boot else now - age - book.now)

    def _set_aside(self) -> str:
        asides = [disk.set_aside(path) for path in (self.path, self.head)]
        if asides[0] is None:
            return "; starting without it"
        return f"; set aside as {asides[0]}, starting without it"
