"""The secrets API's door, served for real over sockets, with a ledger that a test writes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agent.api.access import Rules
from agent.api.caller import Caller
from agent.api.http import HttpServer, Request
from agent.api.secrets import Bundles, BundleState, SecretsDoor, Word
from agent.config.listener_model import ApiRule
from agent.core.clock import Clock, SystemClock
from agent.core.secret import Field, Reading, Secret
from agent.ledger import Ledger
from tests.rig.clock import JumpClock
from tests.rig.waiting import eventually

APP = Caller(uid=1000, gid=1000, pid=7)
OTHER = Caller(uid=2000, gid=2000, pid=8)
RULES = (
    ApiRule(user="1000", secrets=("database", "web*")),
    ApiRule(user="2000", secrets=("other",), bundles=("extra",)),
)
NAMES = ("database", "web", "webhook", "other")


class FewBundles:
    """Bundles by name; `said` is what was confirmed."""

    def __init__(self) -> None:
        self.states = {
            "app": BundleState(7, "waiting", "2026-11-24T10:00:00Z", frozenset({"database"})),
            "extra": BundleState(3, "confirming", None, frozenset({"database", "other"})),
        }
        self.said: list[tuple[str, int, str | None]] = []

    def state(self, name: str) -> BundleState | None:
        return self.states.get(name)

    def confirm(self, name: str, generation: int, error: str | None) -> Word:
        if generation != self.states[name].generation:
            return Word.WRONG_GENERATION
        self.said.append((name, generation, error))
        return Word.TAKEN


class Told(tuple[int, dict[str, str], bytes]):
    """Status, headers by lower-case name, body."""

    __slots__ = ()

    @property
    def status(self) -> int:
        return self[0]

    @property
    def headers(self) -> dict[str, str]:
        return self[1]

    @property
    def body(self) -> bytes:
        return self[2]

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        if content:
            named["Content-Length"] = str(len(content))
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self.writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode() + content)

    async def told(self, *, is_head: bool = False) -> Told:
        async with asyncio.timeout(5):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = raw.decode().split("\r\n")[:-2]
            pairs = (line.split(": ", 1) for line in lines)
            headers = {name.lower(): value for name, value in pairs}
            length = 0 if is_head else int(headers.get("content-length", 0))
            body = await self.reader.readexactly(length)
            return Told((int(first.split()[1]), headers, body))

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Told:
        self.send(method, path, body, **headers)
        return await self.told(is_head=method == "HEAD")

    async def get(self, path: str, **headers: str) -> Told:
        return await self.ask("GET", path, **headers)

    async def chunk(self) -> bytes:
        """The next piece of a stream."""
        async with asyncio.timeout(5):
            size = int(await self.reader.readline(), 16)
            return (await self.reader.readexactly(size + 2))[:-2]


class SecretsSite:
    """`audited` are the records with their status, `refused` the words on versions."""

    def __init__(
        self, group: asyncio.TaskGroup, clock: Clock, bundles: Bundles | None = None
    ) -> None:
        self.clock, self.ledger = clock, Ledger(clock)
        self.bundles = FewBundles()
        self.audited: list[tuple[Any, int]] = []
        self.refused: list[tuple[str, str]] = []
        self.defects: list[Exception] = []
        self.is_writable = True
        self.door = SecretsDoor(
            "secrets:/run/test.sock",
            Rules(RULES),
            NAMES,
            self.ledger,
            clock=clock,
            bundles=bundles or self.bundles,
            refused=self._refuse,
        )
        self.server = HttpServer(
            self.door,
            clock=clock,
            spawn=group.create_task,
            audit=self._audit,
            on_defect=self.defects.append,
        )
        self._running = group.create_task(self.door.run())
        self._writers: list[asyncio.StreamWriter] = []

    def put(self, name: str, version: str, expires_at: float | None = None, **value: Field) -> None:
        self.record(name, version, value, expires_at)

    def record(
        self, name: str, version: str, value: Mapping[str, Field], expires_at: float | None = None
    ) -> None:
        self.ledger.record(name, Reading(Secret(value), version), expires_at)

    async def client(self, caller: Caller = APP) -> Client:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: self.server(caller), ours)
        client = Client(*await asyncio.open_unix_connection(sock=theirs))
        self._writers.append(client.writer)
        return client

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await eventually(lambda: not self.server.connections)
        self._running.cancel()

    def _refuse(self, name: str, version: str) -> bool:
        self.refused.append((name, version))
        return self.refused.count((name, version)) == 1

    def _audit(self, request: Request, status: int, done: Callable[[bool], None]) -> None:
        self.audited.append((request.record, status))
        asyncio.get_running_loop().call_soon(done, self.is_writable)


Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


@asynccontextmanager
async def secrets_site(clock: Clock | None = None) -> AsyncIterator[SecretsSite]:
    """`database` is had: text, bytes and a number."""
    async with asyncio.TaskGroup() as group:
        site = SecretsSite(group, clock or JumpClock())
        site.record("database", "3", {"password": "s3same", "key": b"\x00\xff", "port": 5432})
        site.put("other", "1", token="theirs")
        await asyncio.sleep(0)
        try:
            yield site
            assert not site.defects, site.defects
        finally:
            await site.close()


@asynccontextmanager
async def served(place: Path) -> AsyncIterator[SecretsSite]:
    """The door at its socket; at the end all who are connected are cut off."""
    loop = asyncio.get_running_loop()
    async with secrets_site(SystemClock()) as site:
        server = await loop.create_unix_server(lambda: site.server(APP), place)
        try:
            yield site
        finally:
            server.close()
            for connection in list(site.server.connections):
                connection.give_up()
