"""One agent at a time has a cache: two would undo each other's writing. Blocks."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from agent.core.errors import SealedFileError


class Lock:
    """`FILE.lock` beside the file; the kernel takes it back from an agent that was killed."""

    def __init__(self, file: Path) -> None:
        self._file, self._path = file, file.with_name(f"{file.name}.lock")
        self._held: int | None = None

    def hold(self) -> None:
        """Hold it until `release`; SealedFileError if another process does, and who.

        Where no lock can be made (a full or a read-only disk) there is none yet: nothing can be
        written there either, and who tries says why.
        """
        if self._held is not None:
            if os.fstat(self._held).st_nlink:
                return
            self.release()  # somebody deleted the file: it keeps nobody out any more
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except OSError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise SealedFileError(
                    str(self._file),
                    f"this cache is used by another agent{holder}; "
                    "end that one, or give each a file of its own",
                ) from None
            return
        self._held = descriptor
        with suppress(OSError):  # it is only told to whoever comes second
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)

    def release(self) -> None:
        """Give it up; the file stays where it is."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _holder(descriptor: int) -> str:
    try:
        pid = os.pread(descriptor, 20, 0).strip()
    except OSError:
        return ""
    return f" (process {pid.decode()})" if pid.isdigit() else ""
