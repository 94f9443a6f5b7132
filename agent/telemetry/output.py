"""Bytes to a stream of the process, without ever waiting long for whoever reads it.

A reader that has stalled (a full pipe, a stopped terminal) is waited for once, PATIENCE_SECONDS,
and from then on not at all until it reads again. The stream stays as it is: O_NONBLOCK would be
shared with every process that inherited it.
"""

from __future__ import annotations

import errno
import io
import os
import select
from typing import TextIO

PATIENCE_SECONDS = 0.05

CHUNK_BYTES = select.PIPE_BUF
"""What a pipe that reports room has room for."""


class Room:
    """Whether what a descriptor leads to can take more."""

    def __init__(self, descriptor: int) -> None:
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._is_stalled = False

    def await_it(self) -> None:
        """Return once there is room; BlockingIOError if there is none in time."""
        ready = self._poll.poll(0 if self._is_stalled else PATIENCE_SECONDS * 1000)
        self._is_stalled = not ready
        if self._is_stalled:
            raise _no_room()


def _no_room() -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


class Output:
    """Writes whole lines to a stream; one without a descriptor gets them as text."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_torn = False
        self._raw: io.FileIO | None = None
        try:
            self._raw = io.FileIO(stream.fileno(), "wb", closefd=False)
            self._room = Room(self._raw.fileno())
        except (OSError, ValueError, AttributeError):
            return

    def write(self, lines: bytes) -> None:
        """OSError or ValueError if they could not be written; then a part of them may have been."""
        if self._raw is None:
            self._stream.write(lines.decode())
            self._stream.flush()
            return
        left = memoryview(b"\n" + lines if self._is_torn else lines)
        size = len(left)
        try:
            while left:
                left = left[self._write_some(self._raw, left[:CHUNK_BYTES]) :]
            self._is_torn = False
        finally:
            self._is_torn = self._is_torn or 0 < len(left) < size

    def _write_some(self, raw: io.FileIO, chunk: memoryview) -> int:
        self._room.await_it()
        written = raw.write(chunk)
        if written is None:
            raise _no_room()
        return written
