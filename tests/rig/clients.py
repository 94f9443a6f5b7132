"""The Python client's two kinds, with one face for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from agent.client import AsyncClient, Client, Secret


class InThreads:
    """The sync client as if it were the other."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            return await asyncio.to_thread(getattr(self._client, name), *arguments)

        return call

    async def watch(self, name: str) -> AsyncIterator[Secret]:
        iterator = self._client.watch(name)
        while True:
            yield await asyncio.to_thread(next, iterator)


def asking(kind: str, place: str, timeout: float = 5.0) -> Any:
    """`kind` is sync or async."""
    return AsyncClient(place, timeout) if kind == "async" else InThreads(Client(place, timeout))
