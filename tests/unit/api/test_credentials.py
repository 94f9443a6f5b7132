"""Credentials for systemd's units: who gets what, who waits, and who fails for want of it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from agent.api.access import Rules
from agent.api.credentials import Activations, CredentialsDoor
from agent.api.credentials.activations import LOOK_EVERY, UNSEEN_LASTS
from agent.api.credentials.content import LIMIT, NoContent, content
from agent.api.credentials.peer import Peer, peer_of
from agent.api.listener import Listener
from agent.config.listener_model import CredentialRule, CredentialsListener, Limits
from agent.config.model import SecretEntry
from agent.core.events import CredentialRefused
from agent.core.secret import Field, Reading, Secret
from agent.ledger import Ledger
from tests.rig.clock import JumpClock
from tests.rig.credentials import FAILURE, bound_name, loaded
from tests.rig.needs import needs_root
from tests.rig.peers import open_folder, peer
from tests.rig.stores import Recorder
from tests.rig.waiting import eventually

SECRETS = {name: SecretEntry(path=name) for name in ("database", "web", "late", "other")}
RULES = (
    CredentialRule(unit="app@*.service", secrets=("database", "late")),
    CredentialRule(unit="web.service", credentials=("web.key",)),
    CredentialRule(unit="any.service", secrets=("*",)),
)


class Door:
    """A listener with the door behind it, a ledger to fill, and what was recorded."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.path, self.units = folder / "credentials.sock", folder / "units"
        self.units.mkdir()
        self.clock, self.events = JumpClock(idle_seconds=0.02), Recorder()
        self.ledger = Ledger(self.clock)
        self.records: list[tuple[Any, int]] = []
        self.is_audit_well = True
        self.spec = CredentialsListener(socket=str(self.path), mode=0o600, limits=limits)
        self.tasks: set[asyncio.Task[None]] = set()
        self.rules = Rules(RULES)

    def put(self, name: str, version: str = "1", **fields: Field) -> None:
        self.ledger.record(name, Reading(Secret(fields), version), None)

    async def load(self, unit: str, credential: str) -> bytes:
        return await loaded(self.path, bound_name(unit, credential))

    def said(self) -> list[str]:
        return [each.reason for each in self.events if isinstance(each, CredentialRefused)]

    def build(self, group: asyncio.TaskGroup) -> Listener:
        self.activations = Activations("door", self.ledger, self.clock, self.units)
        self.door = CredentialsDoor(
            "door",
            self.ledger,
            self.activations,
            rules=lambda: self.rules,
            secrets=lambda: SECRETS,
            timeout=30.0,
            clock=self.clock,
            emit=self.events,
            spawn=group.create_task,
            audit=self._audit,
        )
        return Listener(
            self.spec,
            self.rules,
            self.door,
            clock=self.clock,
            emit=self.events,
            turn_away=self.door.turn_away,
        )

    def _audit(self, visit: Any, status: int, done: Callable[[bool], None]) -> None:
        self.records.append((visit, status))
        done(self.is_audit_well)


@asynccontextmanager
async def door(limits: Limits = Limits()) -> AsyncIterator[Door]:  # noqa: B008  # frozen
    needs_root()
    with open_folder() as folder:
        opened = Door(folder, limits)
        async with asyncio.TaskGroup() as group:
            listener = opened.build(group)
            tasks = [group.create_task(each.run()) for each in (listener, opened.door)]
            await eventually(listener.listening.is_set)
            try:
                yield opened
            finally:
                for each in tasks:
                    each.cancel()


async def test_a_unit_gets_the_only_field_as_it_is() -> None:
    async with door() as opened:
        opened.put("database", password="s3cret\n")
        assert await opened.load("app@1.service", "database") == b"s3cret\n"
        assert await opened.load("app@1.service", "database.password") == b"s3cret\n"
        (visit, status), _ = opened.records
    assert status == 200
    assert (visit.record.secret, visit.record.version, visit.record.rule) == ("database", "1", 1)
    assert (visit.caller.unit, visit.caller.uid) == ("app@1.service", 0)
    assert len(visit.id) == 16 and visit.record.decision == "allowed"
    assert "s3cret" not in repr(visit.record)


async def test_several_fields_are_json() -> None:
    async with door() as opened:
        opened.put("database", username="u", password="p", port=5432)
        whole = await opened.load("app@1.service", "database")
        port = await opened.load("app@1.service", "database.port")
    assert json.loads(whole) == {"username": "u", "password": "p", "port": 5432}
    assert port == b"5432"


def test_works_on_uvloop_too() -> None:
    async def story() -> None:
        async with door() as opened:
            opened.put("database", password="p")
            assert await opened.load("app@1.service", "database") == b"p"
            assert await opened.load("app@1.service", "web") == FAILURE

    uvloop.run(story())


@pytest.mark.parametrize(
    ("unit", "credential", "why"),
    [
        ("web.service", "database", "no rule allows it"),
        ("web.service", "web", "no rule allows it"),
        ("web.service", "web.cert", "no rule allows it"),
        ("application.service", "database", "no rule allows it"),
        ("any.service", "unheard-of", "there is no such secret"),
        ("any.service", "database.nothing", "the secret has no such field"),
        ("any.service", "other", "it is empty, and systemd would take that for a credential"),
        ("any.service", "web", "it has more than 1 MiB, which systemd does not take"),
    ],
)
async def test_whatever_is_not_given_makes_the_unit_fail(
    unit: str, credential: str, why: str
) -> None:
    async with door() as opened:
        opened.put("database", password="p", user="u")
        opened.put("other", password="")
        opened.put("web", key=b"x" * LIMIT)
        assert await opened.load(unit, credential) == FAILURE
        assert opened.said() == [why]
        assert [status for _, status in opened.records] in ([403], [404])


@pytest.mark.parametrize(
    "name",
    [
        None,
        b"\0nothing",
        b"\0F00D/unit/app@1.service/database",
        b"\0f00d/unit/app@1.service/database/x",
        b"\0f00d/unit/../database",
        b"\0f00d/unit/app@1.service/../database",
        b"\0f00d/unit/app@1.service/database\n",
        b"\0f00d/unit/app@1.service\0/database",
        b"\0" + b"1" * 17 + b"/unit/app@1.service/database",
    ],
)
async def test_a_name_that_systemd_would_not_bind_gets_nothing(name: bytes | None) -> None:
    async with door() as opened:
        opened.put("database", password="p")
        assert await loaded(opened.path, name) == FAILURE
        assert opened.said() == ["no unit's credential is asked for"]


async def test_a_unit_waits_until_the_value_is_there() -> None:
    async with door() as opened:
        asking = asyncio.ensure_future(opened.load("app@1.service", "late"))
        await opened.clock.advance(29.0)
        assert not asking.done()
        opened.put("late", password="now")
        assert await asking == b"now"


async def test_a_unit_fails_at_the_deadline_and_the_log_says_why() -> None:
    async with door() as opened:
        opened.ledger.stale("late", "connection refused", "outage")
        asking = asyncio.ensure_future(opened.load("app@1.service", "late"))
        await opened.clock.advance(31.0)
        assert await asking == FAILURE
        assert opened.said() == ["not had within 30 s: connection refused"]
        assert opened.records[0][1] == 503


async def test_those_who_wait_fail_when_the_agent_stops() -> None:
    async with door() as opened:
        asking = [
            asyncio.ensure_future(opened.load(f"app@{number}.service", "late"))
            for number in range(5)
        ]
        await opened.clock.settle()
        await eventually(lambda: len(opened.door._visits) == 5)
    assert [await each for each in asking] == [FAILURE] * 5


async def test_one_too_many_fails_too() -> None:
    async with door(Limits(connections=10, per_user=2)) as opened:
        asking = [
            asyncio.ensure_future(opened.load(f"app@{number}.service", "late"))
            for number in range(5)
        ]
        await eventually(lambda: sum(each.done() for each in asking) == 3)
        opened.put("late", password="p")
        answers = [await each for each in asking]
    assert sorted(map(len, answers)) == [1, 1, *[len(FAILURE)] * 3]


async def test_ten_units_at_once() -> None:
    async with door() as opened:
        opened.put("database", password="p")
        async with asyncio.TaskGroup() as group:
            asking = [
                group.create_task(opened.load(f"app@{number}.service", "database"))
                for number in range(10)
            ]
    assert [each.result() for each in asking] == [b"p"] * 10


async def test_nothing_is_given_unaudited() -> None:
    async with door() as opened:
        opened.put("database", password="p")
        opened.is_audit_well = False
        assert await opened.load("app@1.service", "database") == FAILURE
        assert opened.said() == ["the audit can't be written"]


async def test_another_user_with_a_forged_name_gets_nothing() -> None:
    async with door() as opened, peer(54321) as hostile:
        opened.put("database", password="p")
        assert await hostile.do("connect", str(opened.path)) == {"error": "PermissionError"}
        opened.path.chmod(0o666)  # as a socket unit of systemd's might have it
        program = _forger(opened.path, "app@1.service", "database")
        told = await asyncio.create_subprocess_exec(
            "python3", "-I", "-c", program, user=54321, group=54321, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await told.communicate()
        assert told.returncode == 0 and output == b"b''\n"
        assert opened.said() == ["user 54321 is not systemd"]
        assert await opened.load("app@1.service", "database") == b"p"


def _forger(path: Path, unit: str, credential: str) -> str:
    return (
        "import socket\nc = socket.socket(socket.AF_UNIX)\n"
        f"c.bind({bound_name(unit, credential, 0xBAD)!r})\nc.connect({str(path)!r})\n"
        "c.settimeout(10)\nprint(c.recv(100))\n"
    )


async def test_who_says_something_is_not_systemd() -> None:
    def chatting(path: Path) -> int:
        with socket.socket(socket.AF_UNIX) as chatty:
            chatty.bind(bound_name("app@1.service", "late"))
            chatty.connect(str(path))
            chatty.settimeout(10)
            chatty.sendall(b"GET / HTTP/1.1\r\n\r\n")
            count = 0
            while part := chatty.recv(1 << 16):
                count += len(part)
            return count

    async with door() as opened:
        assert await asyncio.to_thread(chatting, opened.path) == len(FAILURE)
        assert opened.said() == ["it sent something, as systemd never does"]


# --- one activation -------------------------------------------------------------------------------


def invocation(opened: Door, unit: str, number: str | None) -> None:
    link = opened.units / f"invocation:{unit}"
    link.unlink(missing_ok=True)
    if number is not None:
        link.symlink_to(number)


async def test_within_one_activation_a_unit_gets_the_same_again() -> None:
    unit = "app@1.service"
    async with door() as opened:
        invocation(opened, unit, "a")
        opened.put("database", "1", password="one")
        assert await opened.load(unit, "database") == b"one"
        opened.ledger.former("database", 1, None)
        opened.put("database", "2", password="two")
        assert opened.ledger.held("database") == {1}
        assert await opened.load(unit, "database") == b"one"
        assert await opened.load("app@2.service", "database") == b"two"

        invocation(opened, unit, "b")
        assert await opened.load(unit, "database") == b"two"


async def test_what_is_dead_is_not_given_again() -> None:
    unit = "app@1.service"
    async with door() as opened:
        invocation(opened, unit, "a")
        opened.put("database", "1", password="one")
        assert await opened.load(unit, "database") == b"one"
        opened.put("database", "2", password="two")  # and the first was revoked
        assert await opened.load(unit, "database") == b"two"


async def test_when_a_unit_has_ended_nothing_is_held_for_it() -> None:
    unit = "app@1.service"
    async with door() as opened:
        invocation(opened, unit, "a")
        opened.put("database", "1", password="one")
        await opened.load(unit, "database")
        await opened.clock.advance(10 * UNSEEN_LASTS)
        assert opened.ledger.held("database") == {1}
        invocation(opened, unit, None)
        await opened.clock.advance(2 * LOOK_EVERY)
        assert opened.ledger.held("database") == frozenset()


async def test_a_listener_that_is_taken_away_holds_nothing() -> None:
    async with door() as opened:
        opened.put("database", "1", password="one")
        await opened.load("app@1.service", "database")
        opened.door.close()
        assert opened.ledger.held("database") == {1}, "the agent may just be stopping"
        opened.activations.close()
        assert opened.ledger.held("database") == frozenset()


async def test_where_no_activation_can_be_seen_time_tells() -> None:
    async with door() as opened:
        opened.put("database", "1", password="one")
        await opened.load("app@1.service", "database")
        await opened.clock.advance(UNSEEN_LASTS - 1)
        assert opened.ledger.held("database") == {1}
        await opened.clock.advance(2 * LOOK_EVERY)
        assert opened.ledger.held("database") == frozenset()


# --- pure -----------------------------------------------------------------------------------------


@given(
    unit=st.from_regex(r"[A-Za-z0-9:_.\\-]{1,20}(@[a-z0-9]{0,5})?\.service", fullmatch=True),
    name=st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,10}", fullmatch=True),
    field=st.none() | st.from_regex(r"[A-Za-z0-9_.-]{1,10}", fullmatch=True),
    number=st.integers(0, 2**64 - 1),
)
def test_what_systemd_binds_is_understood(
    unit: str, name: str, field: str | None, number: int
) -> None:
    credential = name if field is None else f"{name}.{field}"
    assert peer_of(bound_name(unit, credential, number)) == Peer(unit, credential, name, field)


@given(st.binary(max_size=120) | st.text().map(str.encode) | st.text())
def test_nothing_else_is(name: bytes | str) -> None:
    found = peer_of(name)
    if found is not None:
        assert isinstance(name, bytes) and name.endswith(f"/{found.credential}".encode())


@given(
    st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none() | st.binary()),
    st.none() | st.text(),
)
def test_content_is_never_empty(fields: dict[str, Field], field: str | None) -> None:
    try:
        assert content(Secret(fields), field, "x")
    except NoContent as error:
        assert "empty" in str(error) or "no such field" in str(error)


def test_the_id_counts_as_well() -> None:
    assert len(content(Secret({"x": "a" * (LIMIT - 1)}), None, "x")) == LIMIT - 1
    with pytest.raises(NoContent):
        content(Secret({"x": "a" * LIMIT}), None, "x")
