"""Other places for the lines: systemd's journal, and syslog (RFC 5424). Blocks, never for long.

A copy that can't be made is counted, and holds nothing up: a place that has failed is left alone
for RETRY_AFTER seconds.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from agent.audit.chain import Link
from agent.audit.record import Bodies, Stamped
from agent.config.addresses import host_and_port
from agent.config.model import Audit
from agent.core.clock import Clock
from agent.core.errors import AuditError

JOURNAL = Path("/run/systemd/journal/socket")
IDENTIFIER = b"leasehold-audit"
FACILITY, NOTICE = 10, 5
"""authpriv, for what not everybody should read."""

RETRY_AFTER = 5.0
PATIENCE_SECONDS = 1.0
_SENT_BYTES = 1 << 20


class Sink(Protocol):
    """Where lines go; `place` is for messages."""

    place: str

    def send(self, lines: Sequence[bytes]) -> None:
        """Lines without their ends. OSError if it did not take them all."""

    def close(self) -> None: ...


class Datagrams:
    """One message a datagram, on a connection that is made anew once it broke."""

    def __init__(self, place: str, family: socket.AddressFamily, address: object) -> None:
        self.place = place
        self._family, self._address = family, address
        self._socket: socket.socket | None = None

    def send(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            message = self.message(line)
            try:
                self._connected().send(message)
            except (ConnectionError, FileNotFoundError):  # it was started anew
                self.close()
                self._connected().send(message)

    def message(self, line: bytes) -> bytes:
        return syslog_message(line)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            connected = socket.socket(self._family, socket.SOCK_DGRAM)
            try:
                connected.settimeout(PATIENCE_SECONDS)
                connected.connect(self._address)  # type: ignore[arg-type]  # of its family
            except OSError:
                connected.close()
                raise
            with suppress(OSError):
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT_BYTES)
            self._socket = connected
        return self._socket


class Journal(Datagrams):
    """By the journal's native protocol: the line is the message."""

    def __init__(self, path: Path = JOURNAL) -> None:
        super().__init__("journal", socket.AF_UNIX, os.fspath(path))

    def message(self, line: bytes) -> bytes:
        fields = b"PRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=%b\n"
        return b"MESSAGE=%b\n" % line + fields % (NOTICE, FACILITY, IDENTIFIER)


class SyslogStream:
    """Over TCP, each message with its length before it (RFC 6587)."""

    def __init__(self, place: str, address: tuple[str, int]) -> None:
        self.place, self._address = place, address
        self._socket: socket.socket | None = None

    def send(self, lines: Sequence[bytes]) -> None:
        messages = [syslog_message(line) for line in lines]
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, PATIENCE_SECONDS)
            self._refuse_closed(self._socket)
            self._socket.sendall(b"".join(b"%d %b" % (len(each), each) for each in messages))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _refuse_closed(self, connected: socket.socket) -> None:
        """A peer that has gone takes one more message, and says nothing."""
        poll = select.poll()
        poll.register(connected, select.POLLIN)
        if poll.poll(0) and connected.recv(1024) == b"":
            raise ConnectionResetError("closed by the peer")


def syslog_message(line: bytes) -> bytes:
    """`<85>1 TIME HOST leasehold-audit PID - - LINE`"""
    at = line.split(b'"', 6)[5]
    host = socket.gethostname().encode("ascii", "replace").replace(b" ", b"_")[:255] or b"-"
    head = b"<%d>1 %b %b %b %d - - " % (FACILITY * 8 + NOTICE, at, host, IDENTIFIER, os.getpid())
    return head + line


def sinks_of(spec: Audit) -> list[Sink]:
    """Those that the configuration names."""
    found: list[Sink] = [Journal()] if spec.journal else []
    if spec.syslog:
        found.append(_syslog(spec.syslog))
    return found


def _syslog(where: str) -> Sink:
    kind, _, address = where.partition(":")
    if kind == "tcp":
        return SyslogStream(f"syslog {where}", host_and_port(address))
    if kind == "udp":
        host, port = host_and_port(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return Datagrams(f"syslog {where}", family, (host, port))
    return Datagrams(f"syslog {where}", socket.AF_UNIX, where)


class Copies:
    """Sends lines to one place; `lost` counts those that it did not take since it last did."""

    def __init__(self, sink: Sink, clock: Clock) -> None:
        self.place, self.lost = sink.place, 0
        self._sink, self._clock = sink, clock
        self._try_at = float("-inf")

    def send(self, lines: Sequence[bytes]) -> None:
        """AuditError if they are lost."""
        if self._clock.now() < self._try_at:
            self.lost += len(lines)
            raise AuditError(self.place, "has failed a moment ago")
        try:
            self._sink.send([line.removesuffix(b"\n") for line in lines])
        except OSError as error:
            self.lost += len(lines)
            self._try_at = self._clock.now() + RETRY_AFTER
            raise AuditError(self.place, error.strerror or type(error).__name__) from None
        self.lost = 0

    def close(self) -> None:
        self._sink.close()


class Unchained:
    """Records to a place that keeps them itself: numbered from 1 in each run, without a chain."""

    def __init__(self, copies: Copies, clock: Clock) -> None:
        self.noticed: list[str] = []
        self._copies, self._clock = copies, clock
        self._bodies, self._link = Bodies(), Link()

    def open(self) -> None:
        """Nothing to find out: the first writing does."""

    def write(self, records: Sequence[Stamped]) -> list[bytes]:
        """As a `ChainedFile`."""
        seq = self._link.seq
        if seq == 0:
            head = {"event": "head", "format": 1, "reason": "start"}
            records = [Stamped(self._clock.wall(), self._clock.now(), head), *records]
        lines = [self._bodies.encode(each, seq + n) for n, each in enumerate(records, 1)]
        if lines:
            self._copies.send(lines)
        self._link = Link(seq + len(lines))
        return lines

    def keep_head(self, *, is_closed: bool = False) -> None:
        """There is none."""

    def look_again(self) -> None:
        """There is no file."""

    def close(self) -> None:
        self._copies.close()
