"""The journal's native protocol, spoken to a socket of ours that reads it as the journal does."""

from __future__ import annotations

import array
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from struct import unpack_from
from typing import TextIO

import pytest

from agent.config.model import Log as LogSpec
from agent.core.clock import SystemClock
from agent.core.events import LoggedIn, ReloadRefused, StoreDown
from agent.telemetry.logs import Log

LOGGED_IN = LoggedIn(store="vault", method="approle", ttl_seconds=None)


class Journald:
    """Receives entries at a socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(5)

    def entry(self) -> dict[str, list[str]]:
        """The next entry: all values of each field."""
        data, ancillary, _, _ = self._socket.recvmsg(1 << 20, socket.CMSG_SPACE(8))
        return parsed(self._from_file(ancillary[0][2]) if ancillary else data)

    def _from_file(self, descriptors: bytes) -> bytes:
        (file,) = array.array("i", descriptors)
        with os.fdopen(file, "rb") as opened:
            seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
            assert seals & fcntl.F_SEAL_WRITE and seals & fcntl.F_SEAL_SHRINK
            opened.seek(0)
            return opened.read()

    def close(self) -> None:
        self._socket.close()
        self.path.unlink()


def parsed(data: bytes) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    while data:
        line, data = data.split(b"\n", 1)
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = unpack_from("<Q", data)
            value, data = data[8 : 8 + size], data[8 + size + 1 :]
        fields.setdefault(name.decode(), []).append(value.decode())
    return fields


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    journald = Journald(tmp_path / "journal")
    yield journald
    if journald.path.exists():
        journald.close()


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "stderr").open("w") as opened:
        yield opened


@pytest.fixture
def log(stream: TextIO, journald: Journald) -> Iterator[Log]:
    """A log under systemd: JOURNAL_STREAM names the stream."""
    status = os.fstat(stream.fileno())
    log = Log(
        LogSpec(),
        redact=str,
        clock=SystemClock(),
        stream=stream,
        environment={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
        journal_socket=journald.path,
    )
    yield log
    log.close()


def test_an_event_is_an_entry_with_fields(log: Log, journald: Journald) -> None:
    log(LOGGED_IN)
    assert journald.entry() == {
        "MESSAGE": ["vault: logged in by approle; the token never ends"],
        "PRIORITY": ["6"],
        "SYSLOG_IDENTIFIER": ["leasehold"],
        "LEASEHOLD_EVENT": ["logged_in"],
        "LEASEHOLD_STORE": ["vault"],
        "LEASEHOLD_METHOD": ["approle"],
    }


async def test_an_entry_from_within_the_event_loop_is_no_blocking_call(
    log: Log, journald: Journald
) -> None:
    log(LOGGED_IN)
    assert journald.entry()["PRIORITY"] == ["6"]


def test_lines_and_lists_survive(log: Log, journald: Journald) -> None:
    log(ReloadRefused(problems=["a\nPRIORITY=0", "b=c"]))
    entry = journald.entry()
    assert entry["MESSAGE"][0].endswith(":\na\nPRIORITY=0\nb=c")
    assert entry["PRIORITY"] == ["3"]
    assert entry["LEASEHOLD_PROBLEMS"] == ["a\nPRIORITY=0", "b=c"]


def test_what_is_too_large_for_a_datagram_goes_as_a_sealed_file(
    log: Log, journald: Journald, stream: TextIO
) -> None:
    reason = "x" * 20_000_000
    log(StoreDown(store="vault", reason=reason))
    assert journald.entry()["LEASEHOLD_REASON"] == [reason]
    assert Path(stream.name).read_text() == ""


def test_a_journal_that_was_started_anew_is_found_again(log: Log, journald: Journald) -> None:
    log(LOGGED_IN)
    journald.close()
    again = Journald(journald.path)
    log(LOGGED_IN)
    assert again.entry()["LEASEHOLD_STORE"] == ["vault"]
    again.close()


def test_without_a_journal_lines_with_priority_go_to_the_stream(
    log: Log, journald: Journald, stream: TextIO
) -> None:
    journald.close()
    log(StoreDown(store="vault", reason="gone\n<0>not an emergency"))
    assert Path(stream.name).read_text() == (
        "<4>vault: can't be had: gone\n<4><0>not an emergency; looking again until it can\n"
    )


def test_a_journal_that_does_not_read_holds_nothing_up(
    log: Log, journald: Journald, stream: TextIO
) -> None:
    for _ in range(2000):
        log(LOGGED_IN)
    on_stream = Path(stream.name).read_text().count("<6>vault: logged in")
    assert 0 < on_stream < 2000
    for _ in range(2000 - on_stream):
        journald.entry()
    log(LOGGED_IN)
    assert journald.entry()["LEASEHOLD_EVENT"] == ["logged_in"]
    assert log.dropped == 0


def test_json_where_journal_stream_is_another_ones(stream: TextIO, journald: Journald) -> None:
    log = Log(
        LogSpec(),
        redact=str,
        clock=SystemClock(),
        stream=stream,
        environment={"JOURNAL_STREAM": "8:42"},
        journal_socket=journald.path,
    )
    log(LOGGED_IN)
    assert Path(stream.name).read_text().startswith('{"time":')
