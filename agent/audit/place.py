"""Files of the audit on the disk, opened with suspicion. Blocks; an `OSError` stops here."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from agent.core.errors import AuditError

Inode = tuple[int, int]


def make_directory(path: Path) -> None:
    """The file's directory, for nobody else, where it is missing and its own parent is not."""
    with suppress(OSError):  # whoever opens the file says why
        path.parent.mkdir(mode=0o700)


def open_to_append(path: Path) -> int:
    """The file, made 0600 where it is missing; AuditError if it is not ours alone.

    It is locked: two agents on one file would tear its chain.
    """
    refuse_shared_directory(path)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise _failed(path, "can't be opened", error) from None
    try:
        _refuse_shared(path, os.fstat(descriptor))
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AuditError(str(path), "is written by another agent; give each its own") from None
    except OSError as error:
        os.close(descriptor)
        raise _failed(path, "can't be locked", error) from None
    except AuditError:
        os.close(descriptor)
        raise
    return descriptor


def open_to_read(path: Path) -> int | None:
    """The file; None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failed(path, "can't be read", error) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AuditError(str(path), "is not a regular file")
    return descriptor


def read_small(path: Path, limit: int) -> bytes | None:
    """At most `limit` bytes of it; None where there is none."""
    descriptor = open_to_read(path)
    if descriptor is None:
        return None
    try:
        with os.fdopen(descriptor, "rb") as file:
            return file.read(limit)
    except OSError as error:
        raise _failed(path, "can't be read", error) from None


def replace(path: Path, content: bytes, *, is_synced: bool) -> None:
    """The file's content, whole or not at all, mode 0600. OSError if it can't be."""
    candidate = path.with_name(f"{path.name}.new")
    candidate.unlink(missing_ok=True)  # of a run that was killed
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(candidate, flags, 0o600)
    try:
        write_all(descriptor, content)
        if is_synced:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    candidate.replace(path)


def write_all(descriptor: int, content: bytes) -> None:
    """Every byte; OSError if not."""
    written = os.write(descriptor, content)
    if written < len(content):
        left = memoryview(content)[written:]
        while left:
            left = left[os.write(descriptor, left) :]


def inode_of(path: Path) -> Inode | None:
    """What is under the name now."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def refuse_shared_directory(path: Path) -> None:
    """Whoever may write to the directory could take the file away, and put another there."""
    directory = path.parent
    try:
        status = directory.stat()
    except OSError as error:
        raise _failed(directory, "can't be looked at", error) from None
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        why = f"mode {mode:04o} lets others write there; an audit needs 0700 or 0755"
        raise AuditError(str(directory), why)
    if status.st_uid not in (os.geteuid(), 0):
        raise AuditError(str(directory), _foreign(status))


def _refuse_shared(path: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise AuditError(str(path), "is not a regular file")
    if mode & 0o077:
        raise AuditError(str(path), f"mode {mode:04o} lets others in; it must be 0600")
    if status.st_uid != os.geteuid():
        raise AuditError(str(path), _foreign(status))


def _foreign(status: os.stat_result) -> str:
    return f"is owned by user {status.st_uid}, not by this user"


def _failed(path: Path, what: str, error: OSError) -> AuditError:
    reason = "is a link; name the file itself" if _is_link(path) else None
    return AuditError(str(path), reason or f"{what}: {error.strerror or type(error).__name__}")


def _is_link(path: Path) -> bool:
    try:
        return stat.S_ISLNK(path.lstat().st_mode)
    except OSError:
        return False
