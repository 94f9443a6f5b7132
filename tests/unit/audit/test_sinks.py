"""Copies to the journal and to syslog, over real sockets; or records to these alone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.audit.sinks import Copies, Journal, syslog_message
from agent.config.model import Audit as Spec
from agent.core.clock import SystemClock
from agent.core.errors import AuditError
from agent.core.events import AuditBack, AuditCopyBack, AuditCopyFailed, AuditFailed
from tests.rig.audited import Audited, proven, spec_of
from tests.rig.clock import JumpClock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "audit"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def short(memory_directory: Path) -> Path:
    """A folder whose path is short enough for a socket."""
    return memory_directory


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    listener.settimeout(10)
    return listener


def fields_of(message: bytes) -> tuple[list[str], dict[str, Any]]:
    """The head of a syslog message, and its record."""
    head, brace, line = message.partition(b"{")
    return head.decode().split(), msgspec.json.decode(brace + line)


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        yield listener


async def test_syslog_over_udp_has_every_line_of_the_file(folder: Path, udp: socket.socket) -> None:
    spec = spec_of(folder, syslog=f"udp:127.0.0.1:{udp.getsockname()[1]}")
    site = Audited(spec, SystemClock())
    await site.audit.open()
    await site.ask("database", "web")
    await site.audit.close()
    received = [fields_of(await asyncio.to_thread(udp.recv, 65536)) for _ in range(4)]
    lines = (folder / "audit.jsonl").read_bytes().splitlines()
    assert [each for _, each in received] == [msgspec.json.decode(each) for each in lines]
    head = received[1][0]
    assert head[0] == "<85>1" and head[1] == received[1][1]["at"]
    assert head[3] == "leasehold-audit" and head[5:] == ["-", "-"]


async def test_syslog_over_tcp_frames_each_message_by_its_length(folder: Path) -> None:
    received = bytearray()
    ended = asyncio.Event()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read())
        writer.close()
        ended.set()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    site = Audited(spec_of(folder, syslog=f"tcp:127.0.0.1:{port}"), SystemClock())
    await site.audit.open()
    await site.ask("database")
    await site.audit.close()
    async with asyncio.timeout(10):
        await ended.wait()
    server.close()
    messages = []
    rest = bytes(received)
    while rest:
        length, _, rest = rest.partition(b" ")
        messages.append(rest[: int(length)])
        rest = rest[int(length) :]
    assert [fields_of(each)[1]["event"] for each in messages] == ["head", "access", "state"]


async def test_a_copy_that_fails_is_told_once_and_holds_up_nothing(
    folder: Path, short: Path
) -> None:
    clock = JumpClock()
    site = Audited(spec_of(folder, syslog=str(short / "log")), clock)
    await site.audit.open()
    for _ in range(5):
        assert await site.ask("database") == [True]
    assert [type(each) for each in site.events] == [AuditCopyFailed]
    with closing(listening(short / "log")) as listener:
        await clock.advance(5.0)
        assert await site.ask("web") == [True]
        assert fields_of(await asyncio.to_thread(listener.recv, 65536))[1]["secret"] == "web"
        assert str(site.told(AuditCopyBack)[0]).endswith("6 records lost there")
        await site.audit.close()
    assert (await proven(spec_of(folder))).is_good


async def test_without_a_file_the_first_place_decides(short: Path) -> None:
    clock = JumpClock()
    site = Audited(Spec(syslog=str(short / "log")), clock)
    await site.audit.open()
    assert site.told(AuditFailed) and await site.ask("a") == [False]
    with closing(listening(short / "log")) as listener:
        await clock.advance(5.0)
        assert await site.ask("b") == [True]
        received = [fields_of(await asyncio.to_thread(listener.recv, 65536))[1] for _ in range(3)]
        assert [each["event"] for each in received] == ["head", "gap", "access"]
        assert [each["seq"] for each in received] == [1, 2, 3]
        assert site.told(AuditBack)
        await site.audit.close()


def test_the_journal_gets_the_line_as_its_message(short: Path) -> None:
    with closing(listening(short / "socket")) as listener:
        copies = Copies(Journal(short / "socket"), SystemClock())
        copies.send([b'{"seq":1,"at":"2026-01-01T00:00:00.000000Z"}\n'])
        fields = dict(each.split(b"=", 1) for each in listener.recv(65536).splitlines())
        copies.close()
    assert fields == {
        b"MESSAGE": b'{"seq":1,"at":"2026-01-01T00:00:00.000000Z"}',
        b"PRIORITY": b"5",
        b"SYSLOG_FACILITY": b"10",
        b"SYSLOG_IDENTIFIER": b"leasehold-audit",
    }


def test_a_journal_that_was_started_anew_is_connected_to_again(short: Path) -> None:
    copies = Copies(Journal(short / "socket"), SystemClock())
    with closing(listening(short / "socket")) as listener:
        copies.send([b"{}"])
        listener.recv(100)
    (short / "socket").unlink()
    with closing(listening(short / "socket")) as listener:
        copies.send([b"{}"])
        assert listener.recv(100)
    copies.close()


def test_a_place_that_is_not_there_is_an_error_of_ours(short: Path) -> None:
    copies = Copies(Journal(short / "none"), SystemClock())
    with pytest.raises(AuditError, match="journal: No such file"):
        copies.send([b"{}"])


def test_a_host_name_can_not_break_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "a b\u00e9")
    message = syslog_message(b'{"seq":1,"at":"2026-01-01T00:00:00.000000Z"}')
    assert message.startswith(b"<85>1 2026-01-01T00:00:00.000000Z a_b? leasehold-audit ")
