"""Where a file of records ends, and FILE.head, which remembers it beside the file. Blocks."""

from __future__ import annotations

import hmac
import os
from pathlib import Path

import msgspec

from agent.audit import place
from agent.audit.chain import HIGHEST, Keys, Link, parse
from agent.core.errors import AuditError

BLOCK_BYTES = 64 * 1024
LONGEST_TAIL = 16 * 1024 * 1024
MAX_HEAD_BYTES = 4096
HEAD = ".head"


class Tail(msgspec.Struct, frozen=True):
    """The last record of a file (None: there is none), its size, and what follows the last line.

    `torn_bytes`: of a line that was not finished.
    """

    last: Link | None
    size: int
    torn_bytes: int


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What FILE.head tells: the last record, and the first that is still kept.

    `is_closed`: the agent ended in order after it. `boot`: of the host, when it was written.
    """

    seq: int
    chain: str
    first_seq: int
    is_closed: bool
    boot: str

    @property
    def link(self) -> Link:
        return Link(self.seq, bytes.fromhex(self.chain))


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    head: msgspec.Raw
    proof: str


def head_path(file: Path) -> Path:
    return file.with_name(file.name + HEAD)


def read_head(file: Path, keys: Keys) -> Head | None:
    """What was written; None where there is none, AuditError if it is not the key owner's."""
    path = head_path(file)
    content = place.read_small(path, MAX_HEAD_BYTES)
    if content is None:
        return None
    try:
        sealed = msgspec.json.decode(content, type=_Sealed)
        proof = keys.seal(bytes(sealed.head)).hex()
        if not hmac.compare_digest(proof.encode(), sealed.proof.encode()):
            raise AuditError(str(path), "was changed, or is of another key")
        head = msgspec.json.decode(sealed.head, type=Head)
    except (msgspec.MsgspecError, UnicodeError):
        raise AuditError(str(path), "is damaged") from None
    return head


def write_head(file: Path, keys: Keys, head: Head, *, is_synced: bool) -> None:
    """OSError if it can't be."""
    content = msgspec.json.encode(head)
    sealed = _Sealed(msgspec.Raw(content), keys.seal(content).hex())
    place.replace(head_path(file), msgspec.json.encode(sealed) + b"\n", is_synced=is_synced)


def read_tail(file: Path) -> Tail | None:
    """How the file ends; None where there is none. A line that is no record is passed over."""
    descriptor = place.open_to_read(file)
    if descriptor is None:
        return None
    try:
        size = os.fstat(descriptor).st_size
        return _tail(descriptor, size)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise AuditError(str(file), f"can't be read: {reason}") from None
    finally:
        os.close(descriptor)


def first_seq(file: Path) -> int | None:
    """The number of the first record; None if it can't be told."""
    content = place.read_small(file, BLOCK_BYTES)
    if content is None:
        return None
    try:
        return parse(content.partition(b"\n")[0]).seq
    except ValueError:
        return None


def _tail(descriptor: int, size: int) -> Tail:
    torn: int | None = None
    rest = b""
    start = size
    while start > 0 and size - start < LONGEST_TAIL:
        length = min(BLOCK_BYTES, start)
        start -= length
        rest = os.pread(descriptor, length, start) + rest
        if torn is None:
            if (end := rest.rfind(b"\n")) < 0:
                continue
            torn, rest = len(rest) - end - 1, rest[:end]
        lines = rest.split(b"\n")
        rest = lines.pop(0) if start else b""
        for line in reversed(lines):
            if (link := _link(line)) is not None:
                return Tail(link, size, torn)
    return Tail(None, size, size if torn is None else torn)


def _link(line: bytes) -> Link | None:
    try:
        parsed = parse(line)
    except ValueError:
        return None
    return Link(parsed.seq, parsed.chain) if parsed.seq < HIGHEST else None
