"""Between an agent and its server: writes down every request, and breaks what it is told to."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from tests.rig.faults import Answer, Cut, Delay, Fault, Hang, Reset, Withhold
from tests.rig.http_messages import Message, Reader, answer

LIMIT = 64 << 20
PIECE = 256 << 10
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Seen:
    """A request. `at` is in seconds of time.monotonic, `path` begins after /v1/.

    `sent` counts the bytes of the answer's body that went out; `is_lost`: the server did what it
    was asked, and its answer did not arrive whole.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float = field(default_factory=time.monotonic)
    status: int | None = None
    sent: int = 0
    is_lost: bool = False


When = Callable[[Seen], bool]


def path(prefix: str, method: str | None = None) -> When:
    """Requests whose path begins so."""
    return lambda seen: seen.path.startswith(prefix) and method in (None, seen.method)


@dataclass(eq=False)
class Rule:
    """A fault in force; `left` counts the requests that it will still meet."""

    fault: Fault
    when: When
    left: float
    lifted: asyncio.Event = field(default_factory=asyncio.Event)


class Proxy:
    """HTTP/1.1 to `upstream` (http://HOST:PORT), one connection there for each one here."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname and parts.port
        self.seen: list[Seen] = []
        self.connections = 0
        self.most_connections = 0
        self.port = 0
        self._upstream = (parts.hostname, parts.port)
        self._rules: list[Rule] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # --- what is seen -------------------------------------------------------------------------

    def requests(self, prefix: str = "", method: str | None = None) -> list[Seen]:
        """Those whose path begins so, oldest first."""
        return [seen for seen in self.seen if path(prefix, method)(seen)]

    def forget(self) -> None:
        """Count from here on."""
        self.seen.clear()
        self.connections = 0
        self.most_connections = len(self._open)

    # --- what goes wrong ----------------------------------------------------------------------

    def fault(
        self, fault: Fault, when: When = lambda _: True, *, times: float = float("inf")
    ) -> Callable[[], None]:
        """From now on, for `times` requests that match; the newest fault first. Call to lift."""
        rule = Rule(fault, when, times)
        self._rules.insert(0, rule)
        return lambda: self._lift(rule)

    @contextmanager
    def faulty(self, fault: Fault, when: When = lambda _: True) -> Iterator[None]:
        """While entered."""
        lift = self.fault(fault, when)
        try:
            yield
        finally:
            lift()

    def heal(self) -> None:
        """All faults are lifted (`refuse` is ended by `start`)."""
        for rule in self._rules.copy():
            self._lift(rule)

    async def refuse(self) -> None:
        """Nobody listens on the port any more, and what was open is reset."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.drop()

    async def drop(self) -> None:
        """Every open connection is reset; new ones are welcome."""
        for task in self._open.copy():
            task.cancel()
        if self._open:
            await asyncio.wait(self._open.copy())

    async def start(self) -> None:
        """Listen (again, on the same port)."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=LIMIT, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self.heal()
        await self.refuse()

    # --- inside -------------------------------------------------------------------------------

    def _lift(self, rule: Rule) -> None:
        rule.lifted.set()
        with suppress(ValueError):
            self._rules.remove(rule)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        self.most_connections = max(self.most_connections, len(self._open))
        connection = Connection(self, self.connections, Reader(reader), writer)
        try:
            await connection.relay(self._upstream)
        except asyncio.CancelledError:
            connection.reset()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            self._open.discard(task)

    def rule_for(self, seen: Seen) -> Rule | None:
        """The fault that this request meets."""
        rule = next((rule for rule in self._rules if rule.left and rule.when(seen)), None)
        if rule is not None:
            rule.left -= 1
        return rule


@dataclass
class Connection:
    """One client's connection and, as soon as it is needed, its own one to the server."""

    proxy: Proxy
    number: int
    reader: Reader
    writer: asyncio.StreamWriter

    async def relay(self, upstream: tuple[str, int]) -> None:
        """Message by message until one side is done."""
        server_reader, server_writer = await asyncio.open_connection(*upstream, limit=LIMIT)
        server = Reader(server_reader)
        try:
            while (request := await self.reader.read()) is not None:
                seen = self._write_down(request)
                rule = self.proxy.rule_for(seen)
                reply = await self._reply(request, seen, rule, server, server_writer)
                if not await self._pass_on(reply, seen, rule.fault if rule else None):
                    return
                if request.is_last or (reply is not None and reply.is_last):
                    break
            self.writer.close()
        finally:
            server_writer.transport.abort()

    async def _reply(
        self,
        request: Message,
        seen: Seen,
        rule: Rule | None,
        server: Reader,
        server_writer: asyncio.StreamWriter,
    ) -> Message | None:
        """The server's answer or the fault's; None where there is none."""
        match rule.fault if rule else None:
            case Answer() as made:
                seen.status = made.status
                return answer(made.status, made.headers, made.body)
            case Reset(is_asked=False):
                return None
            case Hang() if rule is not None:
                await rule.lifted.wait()
                if self.reader.stream.at_eof():  # the client has not waited for so long
                    return None
            case Delay(seconds):
                await asyncio.sleep(seconds)
        for part in request.encode():
            server_writer.write(part)
        reply = await server.read(is_head=request.start.startswith("HEAD "))
        seen.status = reply.status if reply else None
        if rule is not None and isinstance(rule.fault, Withhold):
            seen.is_lost = True
            await rule.lifted.wait()
        return reply

    async def _pass_on(self, reply: Message | None, seen: Seen, fault: Fault | None) -> bool:
        """False when that was the connection's end."""
        if reply is None or (isinstance(fault, Reset) and fault.body_bytes is None):
            seen.is_lost = reply is not None
            self.reset()
            return False
        head, body = reply.encode()
        seen.is_lost = seen.is_lost or self.writer.is_closing() or self.reader.stream.at_eof()
        if not isinstance(fault, Reset | Cut):
            await self._send(head, body, seen)
            return True
        seen.is_lost = True
        if body:
            await self._send(head, body[: fault.body_bytes], seen)
        else:  # an answer without a body ends in the middle of its head
            await self._send(head[: fault.body_bytes], b"", seen)
        if isinstance(fault, Reset):
            await asyncio.sleep(0.02)
            self.reset()
        else:
            self.writer.close()
        return False

    async def _send(self, head: bytes, body: bytes, seen: Seen) -> None:
        """Piece by piece, no faster than the client reads."""
        self.writer.write(head + body[:PIECE])
        await self.writer.drain()
        seen.sent = len(body[:PIECE])
        for start in range(PIECE, len(body), PIECE):
            self.writer.write(body[start : start + PIECE])
            await self.writer.drain()
            seen.sent = min(start + PIECE, len(body))

    def reset(self) -> None:
        """The client sees a RST."""
        own: socket.socket | None = self.writer.get_extra_info("socket")
        if own is not None and own.fileno() != -1:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.writer.transport.abort()

    def _write_down(self, request: Message) -> Seen:
        method, target, _ = request.start.split(" ", 2)
        headers = {name.lower(): value for name, value in request.headers}
        where = target.removeprefix("/v1/")
        seen = Seen(method, where, headers, request.body, self.number)
        self.proxy.seen.append(seen)
        return seen


@pytest.fixture
async def make_proxy() -> AsyncIterator[Callable[[str], object]]:
    """`await make_proxy(address)`: a proxy before any server."""
    made: list[Proxy] = []

    async def make(upstream: str) -> Proxy:
        proxy = Proxy(upstream)
        await proxy.start()
        made.append(proxy)
        return proxy

    yield make
    for proxy in made:
        await proxy.close()


@pytest.fixture
async def proxy(bao_dev_server: object) -> AsyncIterator[Proxy]:
    """A proxy before the shared OpenBao."""
    made = Proxy(bao_dev_server.bao.address)  # type: ignore[attr-defined]
    await made.start()
    yield made
    await made.close()
