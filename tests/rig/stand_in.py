"""Something at a UNIX socket that answers as it is told, one answer to each request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.rig.http_messages import Message, Reader

HANG = b"never"
"""In place of an answer: the client has to go first."""


class StandIn:
    """`asked` are the requests, in order; `answers` what is said to them, or decides it."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.asked: list[Message] = []
        self.answers: list[bytes] = []
        self.by_path: Callable[[str], bytes] | None = None
        self.came = asyncio.Event()
        """Somebody has asked."""
        self.left = asyncio.Event()
        """A client has gone without an answer."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        message = await Reader(reader).read(is_head=True)
        if message is not None:
            message.body = await reader.readexactly(int(message.header("Content-Length") or 0))
            self.asked.append(message)
            self.came.set()
            answer = self._answer(message)
            if answer == HANG:
                await reader.read()
                self.left.set()
            else:
                writer.write(answer)
        writer.close()

    def _answer(self, message: Message) -> bytes:
        if self.by_path is not None:
            return self.by_path(message.start.split()[1])
        return self.answers.pop(0) if self.answers else HANG


@asynccontextmanager
async def standing_in(folder: Path, name: str = "door.sock") -> AsyncIterator[StandIn]:
    """It listens while this is entered."""
    stand_in = StandIn(str(folder / name))
    server = await asyncio.start_unix_server(stand_in.serve, stand_in.place)
    async with server:
        yield stand_in


def said(status: int, content: object = None, **headers: str) -> bytes:
    """An answer; content that is no bytes is JSON. Of header names, `_` is a hyphen."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    body = b"" if status == 304 else body
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if status != 304:
        names["Content-Length"] = str(len(body))
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in names.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
