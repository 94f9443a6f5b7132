"""One client: its requests one after the other, an answer to each, and limits to its patience."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import cast

from agent.api.caller import Caller
from agent.api.http.message import Answer, Reply, Request, Stream, head, problem
from agent.api.http.parsing import BadRequest, Parser
from agent.api.http.shared import Serving

MOST_WAITING = 8
"""Requests that a client may send ahead of their answers; then it is not read from."""
MOST_AT_ONCE = 4096
"""Bytes that are looked at in one turn: what a client has sent in one go may be ten thousand
requests, which must neither be kept as such nor hold up anybody else."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """`late_at` is the instant at which the client has used up our patience; None: never."""

    __slots__ = (
        "_caller", "_is_due", "_is_ending", "_is_going_on", "_is_held", "_is_paused", "_parser",
        "_server", "_task", "_transport", "_unread", "_waiting", "_writable", "current", "late_at",
    )  # fmt: skip

    def __init__(self, server: Serving, caller: Caller) -> None:
        self._server, self._caller = server, caller
        self._transport: asyncio.Transport | None = None
        self._parser: Parser | None = None
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Event | None = None
        self._unread = b""
        self._is_ending = self._is_paused = False
        self._is_due = self._is_going_on = self._is_held = False
        self.current: Request | None = None
        self.late_at: float | None = None

    # --- what the loop tells ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        server = self._server
        self._parser = Parser(
            self._caller, self._take, prefix=server.prefix(), most_body=server.door.most_body
        )
        self.late_at = server.by(server.limits.slow)
        server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._is_ending or self._parser is None:
            return
        if self._unread or len(data) > MOST_AT_ONCE:
            self._unread += data
            self._read_on()
            return
        self._feed(data)
        if len(self._waiting) >= MOST_WAITING:
            self._pace()

    def _feed(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed(data)
        except BadRequest as refused:
            self._refuse(refused)
            return
        if self._parser.wants_continue() and self.current is None:
            self._write(CONTINUE)
        if self.current is None and self.late_at is not None and self._parser.is_amid:
            self._expect_more()

    def eof_received(self) -> bool:
        """Who has closed its half gets what is on its way; whoever would have to wait is gone.

        A client that has left looks the same from here, and there may be thousands who waited.
        """
        if self.current is None or self._task is not None:
            return False
        self._is_ending = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_ending = True
        self._server.connections.discard(self)
        self._waiting.clear()
        self._unread = b""
        self._parser = self._transport = None
        if self._task is not None:
            self._task.cancel()
        if self._writable is not None:
            self._writable.set()

    def pause_writing(self) -> None:
        self._is_paused = True
        self._writable = asyncio.Event()
        self.late_at = self._server.by(self._server.limits.slow)

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        self.late_at = None if self.current else self._server.by(self._server.limits.idle)
        self._go_on()

    # --- one request after the other ----------------------------------------------------------

    def _take(self, request: Request) -> None:
        if self.current is None and not (self._waiting or self._is_paused or self._is_ending):
            self._begin(request)
            return
        self._waiting.append(request)

    def _go_on(self) -> None:
        """With those that wait, while their answers are taken."""
        if self._is_going_on:
            return
        self._is_going_on = True
        while self._waiting and self.current is None and not (self._is_paused or self._is_ending):
            self._begin(self._waiting.popleft())
        self._is_going_on = False
        self._read_soon()
        self._pace()

    def _read_soon(self) -> None:
        """A further piece of what came, in another turn."""
        if self._unread and len(self._waiting) < MOST_WAITING and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        self._is_due = False
        if self._is_ending:
            return
        piece, self._unread = self._unread[:MOST_AT_ONCE], self._unread[MOST_AT_ONCE:]
        self._feed(piece)
        self._read_soon()
        self._pace()

    def _pace(self) -> None:
        """Take no more from a client than there is room for."""
        is_held = bool(self._unread) or len(self._waiting) >= MOST_WAITING
        if self.current is not None and not self._is_paused:
            # One that is not read from is not seen to leave.
            patience = self.late_at or self._server.by(self._server.limits.idle)
            self.late_at = patience if is_held else None
        if is_held == self._is_held or self._transport is None or self._is_ending:
            return
        self._is_held = is_held
        if is_held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _begin(self, request: Request) -> None:
        self.current, self.late_at = request, None
        try:
            answer = self._server.door.answer(request)
        except Exception as error:  # noqa: BLE001  # a defect ends one request, never the agent
            answer = self._server.broken(error)
        if isinstance(answer, Answer):
            self._audited(request, answer)
        else:
            self._task = self._server.spawn(self._answer_later(request, answer))

    async def _answer_later(self, request: Request, answering: Awaitable[Reply]) -> None:
        try:
            reply = await answering
        except Exception as error:  # noqa: BLE001  # as above
            reply = self._server.broken(error)
        self._task = None if isinstance(reply, Answer) else self._task
        if isinstance(reply, Answer):
            self._audited(request, reply)
        else:
            try:
                await self._send_stream(request, reply)
            finally:
                await reply.close()

    def _audited(self, request: Request, answer: Answer) -> None:
        """Written to the audit first, then sent."""
        if request.record is None:
            self._send(request, answer)
            return
        self._server.audit(
            request,
            answer.status,
            lambda is_written: self._send(request, answer if is_written else NOT_WRITTEN),
        )

    def _send(self, request: Request, answer: Answer) -> None:
        if self._transport is None or self.current is not request:
            return
        is_last = request.is_last or self._is_ending
        self._server.answered[answer.status] += 1
        self._transport.write(answer.encoded(is_head=request.method == "HEAD", is_last=is_last))
        self._done(is_last=is_last)

    def _done(self, *, is_last: bool) -> None:
        self.current = None
        if is_last:
            self.end()
            return
        if not self._is_paused:
            self.late_at = self._server.by(self._server.limits.idle)
        if self._waiting or self._unread:
            self._go_on()

    # --- streams ------------------------------------------------------------------------------

    async def _send_stream(self, request: Request, stream: Stream) -> None:
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if request.record is not None:
            self._server.audit(request, stream.status, lambda is_written: _set(written, is_written))
            if not await written:
                self._send(request, NOT_WRITTEN)
                return
        is_last = request.is_last or self._is_ending
        chunked = ("Transfer-Encoding", "chunked")
        self._server.answered[stream.status] += 1
        self._write(head(stream.status, (*stream.headers, chunked), is_last=is_last))
        try:
            async for chunk in stream.chunks:
                if chunk and request.method != "HEAD":
                    await self._write_chunk(chunk)
        except Exception as error:  # noqa: BLE001  # the client sees that it was cut
            self._server.broken(error)
            self.abort()
            return
        self._task = None
        self._write(b"0\r\n\r\n" if request.method != "HEAD" else b"")
        self._done(is_last=is_last or self._is_ending)

    async def _write_chunk(self, chunk: bytes) -> None:
        self._write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        while self._writable is not None and self._transport is not None:
            await self._writable.wait()

    # --- the end ------------------------------------------------------------------------------

    def wind_up(self) -> None:
        """No more requests than the one under way, if there is one."""
        if self.current is None:
            self.end()
        self._is_ending = True

    def end(self) -> None:
        """No more requests; what was written is sent."""
        self._is_ending = True
        if self._transport is not None:
            self.late_at = self._server.by(self._server.limits.slow)
            self._transport.close()

    def abort(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.abort()

    def is_late(self, now: float) -> bool:
        """Our patience is at its end."""
        return self.late_at is not None and self.late_at <= now

    def give_up(self) -> None:
        """The client took too long: one that was amid a request is told."""
        if self._parser is not None and self._parser.is_amid and not self._is_ending:
            self._refuse(BadRequest(408, "the request took too long"))
        self.abort() if self._is_paused else self.end()

    # --- inside -------------------------------------------------------------------------------

    def _expect_more(self) -> None:
        """The first part of a request is here: the whole of it is to be in time.

        The deadline is set once, or a byte now and then would put it off for ever.
        """
        server = self._server
        if not self._is_paused and self.late_at is not None:
            self.late_at = min(self.late_at, server.by(server.limits.slow))

    def _refuse(self, refused: BadRequest) -> None:
        """Whatever was sent before is answered; this is not, and nothing after it."""
        answer = problem(refused.status, refused.detail)
        if self.current is None and not self._waiting:
            self._server.answered[answer.status] += 1
            self._write(answer.encoded(is_last=True))
        self.end()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


NOT_WRITTEN = problem(503, "the audit can't be written", headers=(("Retry-After", "5"),))


def _set(written: asyncio.Future[bool], is_written: bool) -> None:
    """Unless the client has gone, and nobody waits any more."""
    if not written.done():
        written.set_result(is_written)
