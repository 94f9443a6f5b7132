"""The files of an audit, read for a person: in order, while an agent may go on writing. Blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.audit import place, tail
from agent.audit.chain import HIGHEST, Keys, parse
from agent.audit.file import numbered, read_root_key
from agent.audit.verify import Verdict, Verifier
from agent.core.errors import AuditError, SealedFileError

MOST_FILES = 1001


class Opened(msgspec.Struct, frozen=True):
    """A file of records, open; `name` is for people."""

    name: str
    file: BinaryIO


@contextmanager
def rotated(path: Path) -> Iterator[list[Opened]]:
    """FILE and its rotated ones, the oldest first; AuditError if there is none.

    They are opened from the newest on: whatever is renamed meanwhile is met again, not missed.
    """
    with ExitStack() as stack:
        found: list[Opened] = []
        seen: set[place.Inode] = set()
        is_renamed, lacking = False, 0
        for number in range(MOST_FILES):
            opened = _opened(numbered(path, number), stack)
            if opened is None:
                lacking += 1
                if lacking > 1:
                    break
                continue  # amid a rotation there is none of one name
            lacking = 0
            status = os.fstat(opened.file.fileno())
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                found.append(opened)
            else:
                is_renamed = True
        if not found:
            raise AuditError(str(path), "there are no records yet")
        yield sorted(found, key=_first_seq) if is_renamed else found[::-1]


@contextmanager
def given(paths: Sequence[Path]) -> Iterator[list[Opened]]:
    """Files that somebody names, in the order of their first records."""
    with ExitStack() as stack:
        found = []
        for path in sorted(paths, key=lambda each: tail.first_seq(each) or HIGHEST):
            opened = _opened(path, stack)
            if opened is None:
                raise AuditError(str(path), "there is no such file")
            found.append(opened)
        yield found


def verified(path: Path, key: Path) -> Verdict:
    """The verdict on FILE, its rotated ones and its head."""
    keys = keys_of(key)
    while True:
        head, why = _head(path, keys)
        verifier = Verifier(keys, first_seq=head.first_seq if head else None)
        with rotated(path) as files:
            _feed(verifier, files)
        verdict = verifier.finish(head, why_no_head=why)
        if verdict.is_good or not _is_later(_head(path, keys)[0], head):
            return verdict  # else the oldest file has gone in between: once more


def verified_files(paths: Sequence[Path], key: Path, *, first_seq: int | None) -> Verdict:
    """The verdict on these files; what came after them is not known here."""
    verifier = Verifier(keys_of(key), first_seq=first_seq)
    with given(paths) as files:
        _feed(verifier, files)
    return verifier.finish(None)


def keys_of(file: Path) -> Keys:
    """AuditError if the file holds no key that can be used."""
    try:
        return Keys(read_root_key(file))
    except SealedFileError as error:
        raise AuditError(error.file, error.reason) from None


def _feed(verifier: Verifier, files: Sequence[Opened]) -> None:
    for each in files:
        try:
            verifier.file(each.name, each.file)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise AuditError(each.name, f"can't be read: {reason}") from None


def _head(path: Path, keys: Keys) -> tuple[tail.Head | None, str | None]:
    """The head, or why there is none."""
    try:
        head = tail.read_head(path, keys)
    except AuditError as error:
        return None, f"{error.place}: {error.reason}"
    missing = f"{tail.head_path(path)} is missing: nobody can tell whether the end was cut off"
    return head, None if head else missing


def _is_later(head: tail.Head | None, before: tail.Head | None) -> bool:
    return head is not None and before is not None and head.first_seq > before.first_seq


def _first_seq(opened: Opened) -> int:
    line = opened.file.readline()
    opened.file.seek(0)
    try:
        return parse(line.removesuffix(b"\n")).seq
    except ValueError:
        return 0


def _opened(path: Path, stack: ExitStack) -> Opened | None:
    descriptor = place.open_to_read(path)
    if descriptor is None:
        return None
    return Opened(str(path), stack.enter_context(os.fdopen(descriptor, "rb")))
