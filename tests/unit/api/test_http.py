"""The HTTP of the local doors, over real sockets: what is answered, what waits, what ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.api.caller import Caller
from agent.api.http import Answer, HttpServer, Limits, Reply, Request, Stream, problem
from agent.api.http.parsing import (
    MOST_HEADER_BYTES,
    MOST_HEADERS,
    MOST_TARGET,
    BadRequest,
    Parser,
)
from tests.rig.clock import JumpClock
from tests.rig.waiting import eventually

CALLER = Caller(uid=1000, gid=1000, pid=7)


class Echo:
    """Says what it was asked; `/later` waits for `go`, `/stream` answers in pieces."""

    most_body = 1000

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked: list[Request] = []
        self.pieces = [b"one", b"", b"two"]
        self.record: object = None

    def answer(self, request: Request) -> Answer | Awaitable[Reply]:
        self.asked.append(request)
        request.record = self.record
        match request.path:
            case "/later":
                return self._later()
            case "/stream":
                return self._stream()
            case "/defect":
                raise ZeroDivisionError("of the door's own")
            case "/gone":
                return problem(404, "not here")
        return Answer(
            200, f"{request.method} {request.path} {request.query}".encode(), "text/plain"
        )

    async def _later(self) -> Answer:
        await self.go.wait()
        return Answer(200, b"later")

    async def _stream(self) -> Stream:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in self.pieces:
                yield piece

        return Stream(pieces(), headers=(("Content-Type", "text/plain"),))


class Client:
    """Raw bytes there, raw bytes back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def get(self, path: str, *headers: str, method: str = "GET") -> None:
        lines = "".join(f"{each}\r\n" for each in ("Host: x", *headers))
        self.send(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode())

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers, body (chunks put together)."""
        async with asyncio.timeout(5):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = raw.decode().split("\r\n")[:-2]
            headers = dict(line.split(": ", 1) for line in lines)
            return int(first.split()[1]), headers, await self._body(headers)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("Transfer-Encoding") != "chunked":
            return await self.reader.readexactly(int(headers.get("Content-Length", 0)))
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body

    async def end(self) -> bytes:
        """What comes until the server ends the connection."""
        async with asyncio.timeout(5):
            return await self.reader.read()


class Site:
    """An `HttpServer` with clients on socket pairs; what is audited is kept, and may be held up."""

    def __init__(self, group: asyncio.TaskGroup, clock: JumpClock) -> None:
        self.door = Echo()
        self.defects: list[Exception] = []
        self.audited: list[tuple[str, int]] = []
        self.is_writable = True
        self.tasks: set[asyncio.Task[None]] = set()
        self._group, self._writers = group, list[asyncio.StreamWriter]()
        self.server = HttpServer(
            self.door,
            clock=clock,
            spawn=self._spawn,
            audit=self._audit,
            on_defect=self.defects.append,
            limits=Limits(idle=75.0, slow=10.0),
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._group.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def _audit(self, request: Request, status: int, done: Callable[[bool], None]) -> None:
        self.audited.append((request.path, status))
        asyncio.get_running_loop().call_soon(done, self.is_writable)

    async def client(self) -> Client:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: self.server(CALLER), ours)
        client = Client(*await asyncio.open_unix_connection(sock=theirs))
        self._writers.append(client.writer)
        return client

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await eventually(lambda: not self.server.connections)


@asynccontextmanager
async def serving(clock: JumpClock | None = None) -> AsyncIterator[Site]:
    async with asyncio.TaskGroup() as group:
        site = Site(group, clock or JumpClock())
        try:
            yield site
        finally:
            await site.close()


async def test_requests_are_answered_one_after_the_other() -> None:
    async with serving() as site:
        client = await site.client()
        for path in ("/a", "/b?c=%20d", "/a"):
            client.get(path)
            status, headers, body = await client.answer()
            assert (status, body.decode()) == (
                200,
                f"GET {path.replace('?', ' ')}".ljust(len(body)),
            )
            assert headers["Cache-Control"] == "no-store"
        assert [each.caller for each in site.door.asked] == [CALLER] * 3
        assert len({each.id for each in site.door.asked}) == 3


async def test_what_is_sent_ahead_is_answered_in_order() -> None:
    async with serving() as site:
        client = await site.client()
        client.get("/later")
        for number in range(20):
            client.get(f"/{number}")
        await eventually(lambda: site.door.asked)
        site.door.go.set()
        assert (await client.answer())[2] == b"later"
        for number in range(20):
            assert (await client.answer())[2] == f"GET /{number} ".encode()


@pytest.mark.parametrize("method", ["LIST", "PUT", "DELETE", "PATCH", "POST"])
async def test_methods_are_passed_on(method: str) -> None:
    async with serving() as site:
        client = await site.client()
        for _ in range(2):
            client.get("/a", method=method)
            assert (await client.answer())[2].decode() == f"{method} /a "


async def test_list_is_known_when_it_comes_byte_by_byte() -> None:
    async with serving() as site:
        client = await site.client()
        for method in ("LIST", "GET", "LIST"):
            for byte in f"{method} /a HTTP/1.1\r\nHost: x\r\n\r\n".encode():
                client.send(bytes([byte]))
                await client.writer.drain()
            assert (await client.answer())[2].decode() == f"{method} /a "


async def test_nobody_asks_by_the_name_that_list_borrows() -> None:
    async with serving() as site:
        client = await site.client()
        client.get("/a", method="LINK")
        assert b"501" in await client.end()
        assert not site.door.asked


async def test_a_head_has_the_headers_alone() -> None:
    async with serving() as site:
        client = await site.client()
        client.get("/a", method="HEAD")
        raw = await client.reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 8" in raw
        client.get("/b")
        assert (await client.answer())[2] == b"GET /b "


async def test_a_stream_comes_in_chunks_and_the_connection_goes_on() -> None:
    async with serving() as site:
        client = await site.client()
        client.get("/stream")
        status, headers, body = await client.answer()
        assert (status, headers["Transfer-Encoding"], body) == (200, "chunked", b"onetwo")
        client.get("/a")
        assert (await client.answer())[0] == 200


async def test_a_stream_waits_for_a_client_that_reads_slowly() -> None:
    async with serving() as site:
        site.door.pieces = [bytes(1 << 16)] * 64
        client = await site.client()
        client.get("/stream")
        assert len((await client.answer())[2]) == 64 << 16


async def test_who_closes_its_half_gets_what_is_on_its_way() -> None:
    async with serving() as site:
        site.door.record = {"secret": "one"}
        client = await site.client()
        client.get("/a")
        client.writer.write_eof()
        assert (await client.end()).endswith(b"GET /a ")


async def test_who_goes_away_is_not_waited_for() -> None:
    async with serving() as site:
        client = await site.client()
        client.get("/later")
        await eventually(lambda: site.tasks)
        client.writer.transport.abort()
        await eventually(lambda: not site.tasks)


async def test_http_1_0_and_connection_close_end_with_the_answer() -> None:
    async with serving() as site:
        for raw in (b"GET /a HTTP/1.0\r\n\r\n", b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\n"):
            client = await site.client()
            client.send(raw)
            assert (await client.end()).endswith(b"GET /a ")


async def test_a_body_is_put_together_and_asked_for_if_the_client_waits() -> None:
    async with serving() as site:
        client = await site.client()
        client.send(
            b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"bo")
        client.send(b"dy")
        assert (await client.answer())[0] == 200
        assert site.door.asked[0].body == b"body"


async def test_a_defect_ends_one_request_and_is_said() -> None:
    async with serving() as site:
        client = await site.client()
        client.get("/defect")
        status, _, body = await client.answer()
        assert status == 500 and b"of the door" not in body
        assert [type(each) for each in site.defects] == [ZeroDivisionError]
        client.get("/a")
        assert (await client.answer())[0] == 200


# --- the audit --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/a", "/later", "/stream", "/gone"])
async def test_an_answer_is_sent_once_it_is_written_down(path: str) -> None:
    async with serving() as site:
        site.door.record = {"secret": "one"}
        site.door.go.set()
        client = await site.client()
        client.get(path)
        status, _, _ = await client.answer()
        assert site.audited == [(path, status)]


@pytest.mark.parametrize("path", ["/a", "/later", "/stream"])
async def test_what_can_not_be_written_down_is_not_answered(path: str) -> None:
    async with serving() as site:
        site.door.record, site.is_writable = {"secret": "one"}, False
        site.door.go.set()
        client = await site.client()
        client.get(path)
        status, _, body = await client.answer()
        assert status == 503 and b"audit" in body and b"GET" not in body


# --- what is refused --------------------------------------------------------------------------

BAD = {
    "both lengths": b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "signed length": b"POST /a HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
    "bare newlines": b"GET /a HTTP/1.1\nHost: x\n\n",
    "folded header": b"GET /a HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
    "space before colon": b"GET /a HTTP/1.1\r\nHost : x\r\n\r\n",
    "nul in header": b"GET /a HTTP/1.1\r\nX: a\x00b\r\n\r\n",
    "nul in path": b"GET /a\x00b HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "two tokens": b"GET /a HTTP/1.1\r\nX-Vault-Token: x\r\nX-Vault-Token: y\r\n\r\n",
    "unknown method": b"FOO /a HTTP/1.1\r\n\r\n",
    "another version": b"GET /a HTTP/2.0\r\n\r\n",
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "upgrade": b"GET /a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "connect": b"CONNECT x:1 HTTP/1.1\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "long target": b"GET /" + b"a" * MOST_TARGET + b" HTTP/1.1\r\n\r\n",
    "long header": b"GET /a HTTP/1.1\r\nX: " + b"a" * MOST_HEADER_BYTES + b"\r\n\r\n",
    "many headers": b"GET /a HTTP/1.1\r\n" + b"X: a\r\n" * (MOST_HEADERS + 1) + b"\r\n",
    "huge body said": b"POST /a HTTP/1.1\r\nContent-Length: 1001\r\n\r\n",
    "huge body come": b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n"
    + bytes(1001),
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD.keys())
async def test_what_is_no_plain_request_ends_the_connection(raw: bytes) -> None:
    async with serving() as site:
        client, other = await site.client(), await site.client()
        client.send(raw)
        answered = await client.end()
        assert answered[9:12] in (b"400", b"413", b"414", b"431", b"501", b"505"), answered
        assert answered.count(b"\r\nContent-Length: ") == 1
        other.get("/b")
        assert (await other.answer())[2] == b"GET /b "


async def test_what_follows_a_bad_request_is_not_taken_for_one() -> None:
    async with serving() as site:
        client = await site.client()
        client.send(BAD["two lengths"] + b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.end()).count(b"HTTP/1.1 4") == 1
        assert not site.door.asked


# --- patience ---------------------------------------------------------------------------------


@pytest.fixture
def clock() -> JumpClock:
    return JumpClock()


async def late(site: Site, clock: JumpClock, seconds: float) -> None:
    """The server has looked again after so many seconds."""
    running = asyncio.get_running_loop().create_task(site.server.run())
    await clock.advance(seconds)
    running.cancel()
    await asyncio.wait([running])


async def test_a_request_that_trickles_in_is_not_waited_for(clock: JumpClock) -> None:
    async with serving(clock) as site:
        client, other = await site.client(), await site.client()
        other.get("/later")
        client.send(b"GET /a HTTP/1.1\r\nX: ")
        await eventually(lambda: site.door.asked)
        for _ in range(4):
            client.send(b"a")
            await client.writer.drain()
            await late(site, clock, 2.0)
        await late(site, clock, 4.0)
        assert b"408" in await client.end()
        site.door.go.set()
        assert (await other.answer())[2] == b"later"


async def test_who_says_nothing_is_not_kept(clock: JumpClock) -> None:
    async with serving(clock) as site:
        client = await site.client()
        await late(site, clock, 12.0)
        assert await client.end() == b""


async def test_patience_is_never_shorter_than_it_says(clock: JumpClock) -> None:
    async with serving(clock) as site:
        site.server.limits = Limits(idle=75.0, slow=1.0)
        running = asyncio.get_running_loop().create_task(site.server.run())
        await clock.advance(0.9)
        client = await site.client()
        await clock.advance(0.2)
        client.get("/a")
        assert (await client.answer())[0] == 200
        running.cancel()
        await asyncio.wait([running])


async def test_a_kept_connection_may_rest_a_while(clock: JumpClock) -> None:
    async with serving(clock) as site:
        client = await site.client()
        client.get("/a")
        await client.answer()
        await late(site, clock, 60.0)
        client.get("/b")
        assert (await client.answer())[2] == b"GET /b "
        await late(site, clock, 80.0)
        assert await client.end() == b""


async def test_who_waits_for_an_answer_is_waited_for(clock: JumpClock) -> None:
    async with serving(clock) as site:
        client = await site.client()
        client.get("/later")
        await eventually(lambda: site.door.asked)
        await late(site, clock, 600.0)
        site.door.go.set()
        assert (await client.answer())[2] == b"later"


async def test_who_does_not_take_its_answer_is_dropped(clock: JumpClock) -> None:
    async with serving(clock) as site:
        site.door.pieces = [bytes(1 << 20)] * 8
        client = await site.client()
        client.get("/stream")
        await eventually(lambda: any(each.late_at for each in site.server.connections))
        await late(site, clock, 12.0)
        await eventually(lambda: not site.server.connections)
        await eventually(lambda: not site.tasks)


async def test_the_end_lets_those_go_who_wait_for_nothing(clock: JumpClock) -> None:
    async with serving(clock) as site:
        idle, busy = await site.client(), await site.client()
        idle.get("/a")
        await idle.answer()
        busy.get("/later")
        await eventually(lambda: len(site.door.asked) == 2)
        site.server.close()
        assert await idle.end() == b""
        site.door.go.set()
        assert (await busy.end()).endswith(b"later")


# --- the parser, fed with anything ------------------------------------------------------------


def parsed(*chunks: bytes) -> list[tuple[str, str, bytes]] | int:
    """The requests found, or the status that it was refused with."""
    found: list[Request] = []
    parser = Parser(CALLER, found.append, prefix="x", most_body=1000)
    try:
        for chunk in chunks:
            parser.feed(chunk)
    except BadRequest as refused:
        return refused.status
    return [(each.method, each.path, each.body) for each in found]


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_bytes_are_requests_or_refused(data: bytes) -> None:
    parsed(data)


@given(st.data())
@settings(max_examples=200)
def test_where_the_bytes_are_cut_makes_no_difference(data: st.DataObject) -> None:
    raw = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbodyGET /b HTTP/1.1\r\n\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1))))
    chunks = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert parsed(*chunks) == [("POST", "/a", b"body"), ("GET", "/b", b"")]


def test_headers_of_others_may_hold_any_character() -> None:
    """One that can't be sent would end the task, and with it the agent."""
    answer = Answer(200, b"", headers=(("Warning", "caf\udce9 \u2603"),))
    assert b"Warning: caf? ?\r\n" in answer.encoded()


@pytest.mark.parametrize(
    "before", ["X: ", "X", "Transfer-Encoding: chunked\r\n\r\n0\r\nX: "], ids=repr
)
def test_a_header_without_an_end_is_not_kept(before: str) -> None:
    parser = Parser(CALLER, lambda _: None, prefix="", most_body=1000)
    parser.feed(f"POST / HTTP/1.1\r\nHost: x\r\n{before}".encode())
    piece, most = b"a" * 4096, MOST_HEADER_BYTES // 4096
    with pytest.raises(BadRequest) as refused:
        for _ in range(most + 1):
            parser.feed(piece)
    assert refused.value.status in (400, 431)
