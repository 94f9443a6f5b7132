"""Clients that ask a small web app all the time, in this process: what failed, and who answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientError, ClientSession, ClientTimeout

WORKERS = 6
PAUSE = 0.01
PATIENCE = ClientTimeout(total=60)


@dataclass
class Counts:
    """`users`: what the answers' `user` was, in order of appearance."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    async def ask(self, session: ClientSession, url: str) -> None:
        """One request; anything but 200 with JSON is a failure."""
        try:
            async with session.get(url) as answer:
                said = await answer.json()
        except (ClientError, TimeoutError, ValueError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")
            return
        if answer.status != 200:
            self.failures.append(f"{answer.status}: {said}")
            return
        self.answered += 1
        if said["user"] not in self.users:
            self.users.append(said["user"])


@asynccontextmanager
async def load(url: str) -> AsyncIterator[Counts]:
    """While entered WORKERS ask on kept connections; the last answers are waited for."""
    counts, over = Counts(), asyncio.Event()

    async def work() -> None:
        while not over.is_set():
            await counts.ask(session, url)
            await asyncio.sleep(PAUSE)

    async with ClientSession(timeout=PATIENCE) as session, asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work())
        try:
            yield counts
        finally:
            over.set()
