"""Just enough HTTP/1.1 to relay messages whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus


@dataclass
class Message:
    """A request or an answer: its first line, its headers, its body without transfer coding."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for each, value in self.headers if each.lower() == name.lower()), None)

    @property
    def is_last(self) -> bool:
        """The sender closes its connection after this message."""
        return (self.header("Connection") or "").lower() == "close"

    def encode(self) -> tuple[bytes, bytes]:
        """Head and body, with a Content-Length in place of any transfer coding."""
        kept = [
            (name, value)
            for name, value in self.headers
            if name.lower() not in ("content-length", "transfer-encoding")
        ]
        lines = [self.start, *(f"{name}: {value}" for name, value in kept)]
        if not self.is_without_body:
            lines.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), self.body

    @property
    def is_without_body(self) -> bool:
        """An answer that can't have one."""
        return self.start.startswith("HTTP/") and self.status in (204, 304)

    @property
    def status(self) -> int:
        return int(self.start.split()[1])


def answer(status: int, headers: dict[str, str], body: bytes) -> Message:
    """An answer of the proxy's own."""
    phrase = HTTPStatus(status).phrase
    return Message(f"HTTP/1.1 {status} {phrase}", list(headers.items()), body)


@dataclass
class Reader:
    """Messages from a stream."""

    stream: asyncio.StreamReader

    async def read(self, *, is_head: bool = False) -> Message | None:
        """The next message; None when the stream ends before one. `is_head`: answers HEAD."""
        try:
            head = await self.stream.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        start, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        message = Message(start, [(name, value.strip()) for name, _, value in pairs])
        if not is_head and not message.is_without_body:
            message.body = await self._body(message)
        return message

    async def _body(self, message: Message) -> bytes:
        if "chunked" in (message.header("Transfer-Encoding") or "").lower():
            return b"".join([chunk async for chunk in self._chunks()])
        length = message.header("Content-Length")
        if length is not None:
            return await self.stream.readexactly(int(length))
        return await self.stream.read() if message.start.startswith("HTTP/") else b""

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self.stream.readline()).split(b";")[0], 16):
            yield await self.stream.readexactly(size)
            await self.stream.readexactly(2)
        while (await self.stream.readline()).strip():
            pass
