"""The app's proof in a file: that it touched one, or that it wrote there which generation it has.

No clocks are compared: a touched file is one that is not as it was before the app could know of the
generation. That holds whatever the wall clock does, and for a file that was there before. What a
touch can't say is which generation is meant: a late one for the generation before counts. A file
that holds the generation says it.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from pathlib import Path

from agent.core.clock import Clock
from agent.delivery.announcement import Announcement

TICK_SECONDS = 0.02
"""Two changes of a file within this time may bear the same time: the kernel's clock is coarse."""

LONGEST_CONTENT = 64
_GENERATION = re.compile(rb"\s*(?:\.\.gen-)?([0-9]{1,18})\s*")
"""`42`, or as the link `DIRECTORY/..data` has it: `..gen-000042`."""

Trace = tuple[int, int, int, int]
"""Device, inode, time of modification in ns, size."""

_NO_FILE, _NOT_REGULAR = "it is not there", "it is no regular file"


class TouchedFile:
    """Has the app touched, written or replaced it?"""

    def __init__(self, file: Path, clock: Clock) -> None:
        self.target = f"file {file}"
        self._file, self._clock = file, clock
        self._generation: int | None = None
        self._before: Trace | str = _NO_FILE

    async def prepare(self, announcement: Announcement) -> None:
        if announcement.generation == self._generation:
            return
        self._before = await asyncio.to_thread(trace_of, self._file)
        self._generation = announcement.generation
        if not isinstance(self._before, str):
            age = self._clock.wall() - self._before[2] / 1e9
            if abs(age) < TICK_SECONDS:
                await self._clock.sleep(TICK_SECONDS)

    async def ask(self, announcement: Announcement, timeout: float) -> str | None:
        await self.prepare(announcement)
        trace = await asyncio.to_thread(trace_of, self._file)
        if isinstance(trace, str):
            return trace
        return "not touched since the announcement" if trace == self._before else None


class GenerationFile:
    """Does it hold the generation?"""

    def __init__(self, file: Path) -> None:
        self.target = f"file {file}"
        self._file = file

    async def prepare(self, announcement: Announcement) -> None:
        """What it holds says all."""

    async def ask(self, announcement: Announcement, timeout: float) -> str | None:
        found = await asyncio.to_thread(generation_in, self._file)
        if isinstance(found, str) or found == announcement.generation:
            return found if isinstance(found, str) else None
        return f"generation {found}, wanted {announcement.generation}"


def trace_of(file: Path) -> Trace | str:
    """What changes when a file is touched, written or replaced; why not, in words."""
    try:
        status = file.lstat()
    except FileNotFoundError:
        return _NO_FILE
    except OSError as error:
        return f"can't be looked at: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return _NOT_REGULAR
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def generation_in(file: Path) -> int | str:
    """The generation that a file holds; why not, in words, which quote nothing of it."""
    if isinstance(reason := trace_of(file), str):
        return reason
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return f"can't be read: {error.strerror}"
    with open(descriptor, "rb") as opened:  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return _NOT_REGULAR
        content = opened.read(LONGEST_CONTENT + 1)
    match = _GENERATION.fullmatch(content) if len(content) <= LONGEST_CONTENT else None
    return int(match[1]) if match else "it holds no generation"
