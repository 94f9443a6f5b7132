"""Raw bytes at the listeners, for a bounded number of tries: nothing breaks, all others are served.

What is sent is random, or begins as something that makes sense and then does not. Whatever it is,
the connection is answered or ends, no defect is told, no value is given away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.api.access import Rules
from agent.api.aws import AwsDoor, Token
from agent.api.http import Door, HttpServer, Limits, Request
from agent.api.listener import Listener
from agent.api.secrets import SecretsDoor
from agent.api.vault import VaultDoor
from agent.config.listener_model import (
    ApiRule,
    AwsListener,
    SecretsListener,
    SecretsRule,
    VaultListener,
    VaultRule,
)
from agent.config.model import SecretEntry
from agent.core.clock import SystemClock
from agent.core.secret import Reading, Secret
from agent.ledger import Ledger
from tests.rig.door_bytes import lines, messages
from tests.rig.secrets_site import FewBundles
from tests.rig.stores import Changes, Recorder
from tests.rig.waiting import eventually

VALUE = "s3cr3t-of-another"
DOORS = ("secrets", "vault", "aws")
GOOD = b"GET /v1/mine HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Site:
    """One door at an abstract socket. Root, which we are, may read `mine` and not `app`."""

    def __init__(self, kind: str, group: asyncio.TaskGroup) -> None:
        self.name = f"@leasehold-fuzz-{kind}-{id(self)}"
        self.clock, self.ledger = SystemClock(), Ledger(SystemClock())
        for name, text in (("app", VALUE), ("mine", "mine")):
            self.ledger.record(name, Reading(Secret({"password": text}), "1"), None)
        self.defects: list[Exception] = []
        self.server = HttpServer(
            self._door(kind),
            clock=self.clock,
            spawn=group.create_task,
            audit=self._audit,
            on_defect=self.defects.append,
            limits=Limits(idle=0.5, slow=0.5),
        )
        spec = SecretsListener(socket=self.name)
        self.listener = Listener(
            spec, self.rules, self.server, clock=self.clock, emit=Recorder(), grace=0.1
        )

    async def say(self, data: bytes, *, is_all: bool = True) -> bytes:
        """All that comes back; `is_all`: we say that nothing more comes."""
        reader, writer = await asyncio.open_unix_connection("\0" + self.name[1:])
        writer.write(data)
        try:
            if is_all:
                writer.write_eof()
            async with asyncio.timeout(10):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()

    def _door(self, kind: str) -> Door:
        entries = {name: SecretEntry(path=f"kv/{name}", store="vault") for name in ("app", "mine")}
        if kind == "secrets":
            self.rules = Rules((ApiRule(user="0", secrets=("mine",)),))
            return SecretsDoor(
                kind, self.rules, entries, self.ledger,
                clock=self.clock, bundles=FewBundles(), refused=lambda name, version: True,
            )  # fmt: skip
        if kind == "vault":
            self.rules = Rules((VaultRule(user="0", secrets=("mine",)),))
            door = VaultDoor(
                kind, VaultListener(socket=self.name, store="vault"), self.ledger,
                rules=lambda: self.rules, upstream=lambda: None, clock=self.clock,
            )  # fmt: skip
            door.use(VaultListener(socket=self.name, store="vault"), entries)
            return door
        self.rules = Rules((SecretsRule(user="0", secrets=("mine",)),))
        return AwsDoor(
            kind, self.ledger, rules=lambda: self.rules, secrets=lambda: entries,
            refresh=self._refreshed, token=Token.of(AwsListener(socket=self.name), {}),
            clock=self.clock, emit=Recorder(), changes=Changes(), connections=lambda: 0,
        )  # fmt: skip

    async def _refreshed(self, name: str, deadline: float) -> bool:
        return True

    def _audit(self, request: Request, status: int, done: Callable[[bool], None]) -> None:
        done(True)


@asynccontextmanager
async def site(kind: str) -> AsyncIterator[Site]:
    async with asyncio.TaskGroup() as group:
        opened = Site(kind, group)
        tasks: list[asyncio.Task[Any]] = [
            group.create_task(opened.listener.run()),
            group.create_task(opened.server.run()),
        ]
        await opened.listener.listening.wait()
        try:
            yield opened
        finally:
            for each in tasks:
                each.cancel()
    assert not opened.defects, opened.defects


async def is_unharmed(kind: str, said: list[bytes]) -> None:
    """All at once, and somebody who means well among them."""
    async with site(kind) as door:
        async with asyncio.TaskGroup() as group:
            answers = [group.create_task(door.say(each)) for each in [*said, GOOD]]
        *others, good = [each.result() for each in answers]
        assert good.startswith(b"HTTP/1.1 "), good
        for answer in others:
            assert VALUE.encode() not in answer
            assert not answer or answer.startswith(b"HTTP/1.1 ")
            assert b"HTTP/1.1 500" not in answer


@pytest.mark.parametrize("kind", DOORS)
@given(said=st.lists(st.binary(max_size=2000), min_size=1, max_size=8))
@settings(max_examples=25)
def test_any_bytes(kind: str, said: list[bytes]) -> None:
    asyncio.run(is_unharmed(kind, said))


@pytest.mark.parametrize("kind", DOORS)
@given(said=st.lists(messages(), min_size=1, max_size=8))
@settings(max_examples=100)
def test_what_is_nearly_a_request(kind: str, said: list[bytes]) -> None:
    asyncio.run(is_unharmed(kind, said))


@pytest.mark.parametrize("kind", DOORS)
@given(said=st.lists(lines(), min_size=1, max_size=8))
@settings(max_examples=100)
def test_any_target_and_any_header(kind: str, said: list[bytes]) -> None:
    asyncio.run(is_unharmed(kind, said))


async def test_ten_thousand_requests_at_once_hold_up_nobody() -> None:
    """They are looked at a few at a time, and none is lost: with the last one the client goes."""
    async with site("secrets") as door:
        many = b"GET /v1/secrets HTTP/1.1\r\n\r\n" * 9_999 + GOOD
        answer = await door.say(many, is_all=False)
        assert answer.count(b"HTTP/1.1 ") == 10_000


async def test_answers_that_nobody_reads_do_not_pile_up() -> None:
    """Nor do the requests: the rest is left with the client, and goes on once it reads."""
    async with site("secrets") as door:
        reader, writer = await asyncio.open_unix_connection("\0" + door.name[1:], limit=1 << 12)
        writer.write(b"GET /v1/secrets/mine HTTP/1.1\r\n\r\n" * 9_999 + GOOD)
        await eventually(lambda: [each for each in door.server.connections if each._is_paused])
        (connection,) = door.server.connections
        assert connection._transport is not None
        assert connection._transport.get_write_buffer_size() < 1 << 18
        assert len(connection._waiting) < 200
        assert (await reader.read()).count(b"HTTP/1.1 ") == 10_000
        writer.close()
