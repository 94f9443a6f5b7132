"""What /proc tells of a process. Everything here blocks for some microseconds.

A pid is only a number that is used again; whoever acts on an answer holds a pidfd from before it.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
COMM_LENGTH = 15

_START_TIME = 19  # field 22 of proc(5)'s stat, counted from after the name
DELETED = " (deleted)"


@dataclass(frozen=True)
class Status:
    """`started_at` is an instant of CLOCK_BOOTTIME; `users` are real, effective and saved uid."""

    started_at: float
    users: frozenset[int]


@contextmanager
def pidfd(pid: int) -> Iterator[int]:
    """A descriptor of the process that has the pid now; ProcessLookupError if there is none."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def status(pid: int, pidfd: int) -> Status:
    """The process as it is. ProcessLookupError if it has ended, PermissionError if it is hidden."""
    folder = PROC / str(pid)
    try:
        started_at = start_in((folder / "stat").read_text(errors="replace"))
        users = _users((folder / "status").read_text(errors="replace"))
    except OSError:
        _check_running(pidfd)
        raise PermissionError(errno.EPERM, "hidden by /proc") from None
    _check_running(pidfd)
    return Status(started_at, users)


def _check_running(pidfd: int) -> None:
    """Raise ProcessLookupError for a process that has ended; a zombie has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if poll.poll(0):
        raise ProcessLookupError


def start_in(text: str) -> float:
    """The start in a stat line, whose second field is a name that may hold anything."""
    return int(text.rpartition(")")[2].split()[_START_TIME]) / TICKS_PER_SECOND


def _users(text: str) -> frozenset[int]:
    line = next(line for line in text.splitlines() if line.startswith("Uid:"))
    return frozenset(int(each) for each in line.split()[1:4])


def executable(pid: int) -> str:
    """The path of its program, also if that file has been replaced since.

    ProcessLookupError if it is gone or has none; PermissionError if it is not ours to see.
    """
    try:
        return str((PROC / str(pid) / "exe").readlink()).removesuffix(DELETED)
    except FileNotFoundError:
        raise ProcessLookupError from None


def command_name(pid: int) -> str:
    """The first 15 characters of its program's name, which everybody may see; "" if it is gone."""
    try:
        return (PROC / str(pid) / "comm").read_text(errors="replace").removesuffix("\n")
    except OSError:
        return ""


def pids() -> list[int]:
    """Every process that there is right now."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
