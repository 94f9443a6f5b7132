"""The journal's native protocol: one datagram a line, with fields.

    KEY=value\\n                              where the value is one line
    KEY\\n<64-bit little-endian length>value\\n    otherwise

A datagram that is too large for the socket goes as a sealed memory file, whose descriptor is sent
instead. https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from struct import pack
from typing import TextIO

from agent.telemetry.lines import PRIORITIES, Line
from agent.telemetry.output import Room

SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "leasehold"
PREFIX = "LEASEHOLD_"

_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether the stream is the one that systemd connected to the journal (JOURNAL_STREAM)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class Journal:
    """A connection to the journal, made with the first line and again when it broke."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, line: Line) -> None:
        """OSError if the journal did not take it, within the patience of `output`."""
        message = datagram(line)
        try:
            self._deliver(message)
        except (ConnectionError, FileNotFoundError):  # it was started anew
            self.close()
            self._deliver(message)

    def close(self) -> None:
        """Give the socket up; the next line makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _deliver(self, message: bytes) -> None:
        connected = self._socket or self._connect()
        self._room.await_it()
        try:
            connected.send(message)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            _send_as_file(connected, message)

    def _connect(self) -> socket.socket:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            connected.setblocking(False)
            connected.connect(os.fspath(self._path))
        except OSError:
            connected.close()
            raise
        with suppress(OSError):  # as large as the system permits; the rest goes as a file
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        self._socket, self._room = connected, Room(connected.fileno())
        return connected


def datagram(line: Line) -> bytes:
    """A line with all of its fields; a list is one field with several values."""
    fields = [
        ("MESSAGE", line.message),
        ("PRIORITY", PRIORITIES[line.level]),
        ("SYSLOG_IDENTIFIER", IDENTIFIER),
        (f"{PREFIX}EVENT", line.event),
    ]
    for name, value in line.fields.items():
        values = value if isinstance(value, list) else [value]
        fields += [(f"{PREFIX}{name.upper()}", each) for each in values if each is not None]
    return b"".join(_field(name, str(value)) for name, value in fields)


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" in data:
        return b"%b\n%b%b\n" % (name.encode(), pack("<Q", len(data)), data)
    return b"%b=%b\n" % (name.encode(), data)


def _send_as_file(connected: socket.socket, message: bytes) -> None:
    file = os.memfd_create(IDENTIFIER, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(file, "wb", buffering=0, closefd=False) as memory:
            memory.write(message)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
        socket.send_fds(connected, [b""], [file])
    finally:
        os.close(file)
