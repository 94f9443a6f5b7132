"""Files that are in memory alone and that nobody can change: sealed memfds for a child to inherit.

Sealed means that the kernel refuses to write to them, to resize them, and to take the seals off:
the child, whoever it starts, and the agent itself. A new content therefore needs a new file, and a
running process can't be given one at the same path.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator, Mapping

from agent.core.errors import DeliveryError

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
OWNER_READS = 0o400
SHOWN_AS = "leasehold"
"""What `ls -l /proc/PID/fd` shows: nothing about the content."""

_MFD_NOEXEC_SEAL = 0x8  # linux/memfd.h; since Linux 6.3, refused as EINVAL before


@contextlib.contextmanager
def memory_files(contents: Mapping[str, bytes], uid: int | None) -> Iterator[dict[str, int]]:
    """A sealed descriptor by variable, while entered; readable by `uid` (the agent's, if None).

    Raises DeliveryError that names the variable.
    """
    with contextlib.ExitStack() as open_files:
        descriptors = {}
        for name, content in contents.items():
            try:
                descriptors[name] = open_files.enter_context(_sealed(content, uid))
            except OSError as error:
                raise DeliveryError(f"memory file {name}", str(error.strerror)) from None
        yield descriptors


def path_of(descriptor: int) -> str:
    """The path under which the process that inherited the descriptor, or its heirs, opens it."""
    return f"/proc/self/fd/{descriptor}"


@contextlib.contextmanager
def _sealed(content: bytes, uid: int | None) -> Iterator[int]:
    descriptor = _memfd()
    try:
        _write_all(descriptor, content)
        os.fchmod(descriptor, OWNER_READS)
        if uid is not None:
            os.fchown(descriptor, uid, -1)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
        with _kept_from_swap(descriptor, len(content)):
            yield descriptor
    finally:
        os.close(descriptor)


def _memfd() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(SHOWN_AS, flags | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create(SHOWN_AS, flags)


def _write_all(descriptor: int, content: bytes) -> None:
    """Copy from memory to memory; the descriptor's own position stays at the start."""
    left, written = memoryview(content), 0
    while left[written:]:
        written += os.pwrite(descriptor, left[written:], written)


def _kept_from_swap(descriptor: int, size: int) -> contextlib.AbstractContextManager[object]:
    """Map the file: where the agent's memory is locked (mlockall), these pages then are, too."""
    if not size:
        return contextlib.nullcontext()
    try:
        pages = mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    except OSError:  # more than may be locked: the agent says at its start what that means
        return contextlib.nullcontext()
    pages[:: mmap.PAGESIZE]  # a page is locked when it is first touched
    return pages
