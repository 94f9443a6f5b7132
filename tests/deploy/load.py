"""A load generator: HTTPS over kept connections, new ones and slow ones, each request counted.

`python -m tests.deploy.load CA_FILE NAME:PORT…` goes on until SIGTERM and prints the counts as
JSON. A request has failed if it was not answered with 200 and the whole body, by the server whose
name the certificate has. One on a kept connection that the server had closed meanwhile, without a
byte of an answer, is sent again on a new one, as HTTP's clients do (RFC 9112, 9.3.1), and counted
as `reopened`.
"""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

KEPT, NEW, SLOW = 4, 2, 2
PAUSE = 0.01
PATIENCE = 30.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
FAILURES = (OSError, ssl.SSLError, asyncio.IncompleteReadError, TimeoutError, ValueError)


class Closed(Exception):
    """The kept connection had been closed before it was used again."""


class Client:
    """One of several that ask one site."""

    def __init__(self, context: ssl.SSLContext, name: str, port: int, counts: Counter[str]) -> None:
        self._context, self._name, self._port = context, name, port
        self._counts = counts
        self.failures: list[str] = []

    async def keep(self) -> None:
        """Request after request on one connection, for as long as it lasts."""
        streams: Streams | None = None
        try:
            while True:
                is_new = streams is None
                try:
                    async with asyncio.timeout(PATIENCE):
                        streams = streams or await self._connected()
                        await self._get(streams, "/")
                    self._counts["kept"] += not is_new
                except Closed:
                    self._counts["reopened"] += 1
                    self._done(streams)
                    streams = None
                    continue
                except FAILURES as error:
                    self._failed("kept", error)
                    self._done(streams)
                    streams = None
                await asyncio.sleep(PAUSE)
        finally:
            self._done(streams)

    async def renew(self) -> None:
        """A connection for each request."""
        await self._each("new", "/")

    async def linger(self) -> None:
        """Answers that take two seconds."""
        await self._each("slow", "/slow")

    async def _each(self, kind: str, path: str) -> None:
        while True:
            streams: Streams | None = None
            try:
                async with asyncio.timeout(PATIENCE):
                    streams = await self._connected()
                    await self._get(streams, path)
                self._counts[kind] += 1
            except (Closed, *FAILURES) as error:
                self._failed(kind, error)
            finally:
                self._done(streams)
            await asyncio.sleep(PAUSE)

    async def _connected(self) -> Streams:
        return await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, server_hostname=self._name
        )

    async def _get(self, streams: Streams, path: str) -> None:
        reader, writer = streams
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._name}\r\n\r\n".encode())
            first = await reader.readline()
        except ConnectionError:
            raise Closed from None
        if not first:
            raise Closed
        if not first.startswith(b"HTTP/1.1 200 "):
            raise ValueError(first.decode(errors="replace").strip())
        length = -1
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        await reader.readexactly(length)

    def _failed(self, kind: str, error: Exception) -> None:
        self._counts["failed"] += 1
        self.failures.append(f"{self._name} {kind}: {type(error).__name__}: {error}")

    def _done(self, streams: Streams | None) -> None:
        if streams is not None:
            streams[1].transport.abort()


WAYS: tuple[Callable[[Client], Coroutine[Any, Any, None]], ...] = (
    *([Client.keep] * KEPT),
    *([Client.renew] * NEW),
    *([Client.linger] * SLOW),
)


async def main(ca_file: str, sites: list[str]) -> None:
    context = ssl.create_default_context(cafile=ca_file)
    counts: Counter[str] = Counter(failed=0)
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    clients: list[Client] = []
    async with asyncio.TaskGroup() as group:
        tasks = []
        for name, port in (site.split(":") for site in sites):
            for way in WAYS:
                clients.append(Client(context, name, int(port), counts))
                tasks.append(group.create_task(way(clients[-1])))
        await over.wait()
        for task in tasks:
            task.cancel()
    failures = [failure for client in clients for failure in client.failures]
    print(json.dumps({**counts, "failures": failures[:20]}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
