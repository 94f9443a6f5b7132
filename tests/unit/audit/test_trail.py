"""What is recorded of an access: who, what and how it ended; never a value, whatever was sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agent.api.caller import ON_TCP, Caller
from agent.api.http.message import Request
from agent.audit.record import Access, Asked, Bodies, Record, Stamped
from agent.audit.trail import Trail
from agent.audit.writer import Audit, Done
from agent.core.clock import SystemClock
from agent.telemetry.redaction import Redactor
from tests.rig.audited import APP, Audited, spec_of

VALUE = "s3cr3t-value-of-database"


class Kept(Audit):
    """Keeps records instead of writing them."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def append(self, record: Record, done: Done | None = None) -> None:
        self.lines.append(Bodies().encode(Stamped(1.7e9, 5.5, record), 1))
        if done is not None:
            done(True)


redact = Redactor()
redact.learn("database", [VALUE])


def recorded(record: Access, *, caller: Caller = APP, status: int = 200) -> dict[str, Any]:
    kept = Kept()
    request = Request("GET", "/v1/x", headers={}, caller=caller, id="0123456789abcdef")
    request.record = record
    answers: list[bool] = []
    Trail(kept, redact)(request, status, answers.append)
    assert answers == [True]
    fields: dict[str, Any] = msgspec.json.decode(kept.lines[0])
    return fields


def test_a_record_has_what_the_contract_says() -> None:
    record = Access("secrets", "database", "password", "7", decision="allowed", rule=2)
    assert recorded(record) == {
        "seq": 1,
        "at": "2023-11-14T22:13:20.000000Z",
        "mono": 5.5,
        "event": "access",
        "id": "0123456789abcdef",
        "method": "GET",
        "caller": {
            "uid": 1000,
            "gid": 1000,
            "pid": 77,
            "executable": "/usr/bin/app",
            "unit": "app.service",
        },
        "listener": "secrets",
        "secret": "database",
        "field": "password",
        "version": "7",
        "decision": "allowed",
        "rule": 2,
        "status": 200,
    }


def test_a_caller_on_tcp_is_told_as_such() -> None:
    assert recorded(Access("aws", "a"), caller=ON_TCP)["caller"] == {"tcp": True}


def test_root_is_a_caller_and_no_default() -> None:
    assert recorded(Access("aws", "a"), caller=Caller(uid=0, gid=0))["caller"] == {
        "uid": 0,
        "gid": 0,
    }


Where = Literal["secret", "field", "path"]


@given(
    where=st.sampled_from(["secret", "field", "path"]),
    before=st.text(st.characters(), max_size=900),
    decision=st.sampled_from(["denied", "error", "allowed"]),
)
def test_a_value_that_a_caller_sends_by_mistake_is_not_recorded(
    where: Where, before: str, decision: Any
) -> None:
    sent: dict[str, Any] = {where: before + VALUE}
    record = Access("vault", decision=decision, **sent)
    found = recorded(record, status=404)
    assert VALUE not in str(found)
    assert len(found[where]) <= 513 * 6


@given(executable=st.text(st.characters(), max_size=60))
def test_any_path_of_a_program_can_be_recorded(executable: str) -> None:
    caller = Caller(uid=1, executable=executable or None)
    kept = recorded(Access("secrets", "a"), caller=caller)["caller"].get("executable", "")
    assert kept == executable.encode("utf-8", "backslashreplace").decode()


@given(st.binary(min_size=1, max_size=40))
def test_a_line_is_always_one_line(name: bytes) -> None:
    kept = Kept()
    record = Access("secrets", name.decode("utf-8", "surrogateescape"), decision="denied")
    Trail(kept, redact).note(record, APP, "1", None, lambda _: None)
    assert b"\n" not in kept.lines[0] and b"\r" not in kept.lines[0]


def test_no_field_of_a_record_could_hold_a_value() -> None:
    assert set(Access.__struct_fields__) == {
        "listener",
        "secret",
        "field",
        "version",
        "path",
        "action",
        "capability",
        "decision",
        "rule",
    }
    assert set(Asked.__struct_fields__) - set(Access.__struct_fields__) == {
        "event",
        "id",
        "method",
        "caller",
        "status",
    }


async def test_a_door_is_answered_once_it_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.mkdir(mode=0o700)
    site = Audited(spec_of(folder), SystemClock())
    await site.audit.open()
    trail = Trail(site.audit, redact)
    written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    record = Access("credentials", "database", decision="denied")
    trail.note(record, APP, "abc", None, written.set_result)
    async with asyncio.timeout(10):
        assert await written
    await site.audit.close()
    assert b'"decision":"denied"' in (folder / "audit.jsonl").read_bytes()
