"""What processes tell a test, awaited instead of polled: lines through a FIFO, and their end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 10.0


class Reports:
    """Lines that anybody wrote to `path` (`echo ready >"$REPORTS"`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self._rest = b""
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._more = asyncio.Event()

    async def next(self) -> str:
        """The next line; TimeoutError if there is none for a long time."""
        async with asyncio.timeout(PATIENCE):
            while not self.lines:
                self._more.clear()
                await self._more.wait()
        return self.lines.pop(0)

    async def skip_to(self, line: str) -> None:
        """The next line that reads so, whatever comes before it."""
        while await self.next() != line:
            pass

    def read(self) -> None:
        try:
            *whole, self._rest = (self._rest + os.read(self.fd, 65536)).split(b"\n")
        except BlockingIOError:
            return
        self.lines += [line.decode() for line in whole]
        self._more.set()

    def close(self) -> None:
        os.close(self.fd)


@contextmanager
def reports(folder: Path) -> Iterator[Reports]:
    """Listen at `folder/reports`, on the running loop."""
    os.mkfifo(folder / "reports")
    found = Reports(folder / "reports")
    loop = asyncio.get_running_loop()
    loop.add_reader(found.fd, found.read)
    try:
        yield found
    finally:
        loop.remove_reader(found.fd)
        found.close()


async def end_of(pid: int) -> None:
    """Wait for the end of any process; TimeoutError if it lives on for a long time."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
