"""The pid in an app's pid file, and whether to believe it.

The file belongs to the app, so it is hostile input: whoever may write it, or put a link in its
place, chooses whom the agent signals. Errors are `NotifyError`s that name the file.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from agent.core.errors import NotifyError
from agent.delivery.notify.procfs import DELETED, Status

WRITTEN_BEFORE_START = 2.0
"""Seconds by which a pid file may seem older than its process before it is called stale.

A process has a pid only once it has started, so a true pid file is never older. What is forgiven is
measurement: file systems that keep whole seconds, and the kernel's ticks.
"""

_FIRST_LINE = re.compile(rb"[ \t]*([0-9]{1,10})[ \t\r]*")
_READ_LIMIT = 64
_MOST_LINKS = 40
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW


@dataclass(frozen=True)
class PidFile:
    """`written_at` in wall time. `owners`: the uids whose word it is, the file's and its links'."""

    path: Path
    pid: int
    written_at: float
    owners: frozenset[int]

    def check(self, process: Status, started_at: float) -> None:
        """Raise if this can't be the process meant; `started_at` in wall time."""
        if started_at - self.written_at > WRITTEN_BEFORE_START:
            raise _error(self.path, f"stale: pid {self.pid} is younger than the file")
        # An app may name a process of its own user; only root's word (or ours) counts for others.
        for owner in self.owners - {0, os.geteuid()} - process.users:
            reason = f"it is the word of uid {owner}, and pid {self.pid} is another user's process"
            raise _error(self.path, reason)


def read(path: Path) -> PidFile:
    """The file as it is now; `is_absent` if there is none."""
    try:
        return _read(path)
    except (FileNotFoundError, NotADirectoryError):
        raise _error(path, "there is none", is_absent=True) from None
    except OSError as error:
        raise _error(path, f"can't be read: {error.strerror}") from None


def _read(path: Path) -> PidFile:
    real_path, link_owners = _followed(path)
    descriptor = os.open(real_path, _OPEN)
    try:
        if _opened_path(descriptor) != str(real_path):
            raise _error(path, "it was changed while it was read")
        found = os.fstat(descriptor)
        _check_file(path, found)
        pid = parsed(path, os.read(descriptor, _READ_LIMIT))
    finally:
        os.close(descriptor)
    return PidFile(path, pid, found.st_mtime, frozenset({found.st_uid, *link_owners}))


def _followed(path: Path) -> tuple[Path, set[int]]:
    """Where the path leads (/var/run is a link), and the owners of the links on the way."""
    owners: set[int] = set()
    for _ in range(_MOST_LINKS):
        link = next((each for each in (*reversed(path.parents), path) if each.is_symlink()), None)
        if link is None:
            return path, owners
        owners.add(link.lstat().st_uid)
        path = Path(os.path.normpath(link.parent / link.readlink() / path.relative_to(link)))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _opened_path(descriptor: int) -> str:
    # Replaced since is not changed under our hands: this is still what stood there.
    return str(Path(f"/proc/self/fd/{descriptor}").readlink()).removesuffix(DELETED)


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise _error(path, "not a regular file")
    if found.st_mode & stat.S_IWOTH:
        raise _error(path, "everybody may write it (chmod o-w)")


def parsed(path: Path, content: bytes) -> int:
    """The pid in the content of a pid file."""
    # Some keep more than the pid, on further lines (PostgreSQL does).
    found = _FIRST_LINE.fullmatch(content.partition(b"\n")[0])
    if found is None:
        raise _error(path, "it holds no pid")
    pid = int(found[1])
    if pid in (0, 1, os.getpid()) or pid > 2**31 - 1:
        raise _error(path, f"it holds {pid}, which is never signalled")
    return pid


def _error(path: Path, reason: str, *, is_absent: bool = False) -> NotifyError:
    return NotifyError(f"pid file {path}", reason, is_absent=is_absent)
