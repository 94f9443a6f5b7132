"""A TCP balancer before a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.rig.raft import ACTIVE, STANDBY, Node


class Balancer:
    """TCP to any member that its health check finds fit, in turn.

    `standbys` says whether one that does not lead is fit, too. What is open stays as it is, as most
    balancers have it. `nodes` may be changed.
    """

    def __init__(self, nodes: list[Node], *, standbys: bool) -> None:
        self.nodes, self._fit = list(nodes), {ACTIVE, STANDBY} if standbys else {ACTIVE}
        self._turn = 0
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Balancer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await asyncio.sleep(0)  # for those that were let in just now
            for task in self._open.copy():
                task.cancel()
            if self._open:
                await asyncio.wait(self._open.copy())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if (node := await self._next()) is not None:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", node.port)
                try:
                    await _until_one_ends(_pump(reader, far_writer), _pump(far_reader, writer))
                finally:
                    far_writer.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._open.discard(task)

    async def _next(self) -> Node | None:
        for _ in self.nodes.copy():
            self._turn += 1
            node = self.nodes[self._turn % len(self.nodes)]
            if await asyncio.to_thread(node.health) in self._fit:
                return node
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def _until_one_ends(*pumps: Any) -> None:
    tasks = [asyncio.create_task(pump) for pump in pumps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
