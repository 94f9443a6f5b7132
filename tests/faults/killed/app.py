"""An app that uses what it was told of, and a prober that tries what the files hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.rig.postgres import Postgres

EVERY = 0.1
Credential = tuple[str, str]


class App:
    """Reads its files when it is told to reload, and never else.

    While it `is_choosy` it will not work with a credential that is new to it, now or later.
    """

    def __init__(self, postgres: Postgres, directory: Path) -> None:
        self._postgres, self._directory = postgres, directory
        self._held: Credential = ("", "")
        self._shunned: set[str] = set()
        self._known: set[str] = set()
        self.generation = ""
        self.is_choosy = False
        self.dead: list[str] = []

    @property
    def user(self) -> str:
        """Whom it works as."""
        return self._held[0]

    @property
    def is_told(self) -> bool:
        """What it works with is what the files hold, in the generation that is seen."""
        return (self.generation, self._held) == self.seen()

    def seen(self) -> tuple[str, Credential]:
        """The generation that is seen, and what is in it; its links may not be there yet."""
        while True:
            generation = self._link()
            if not generation:
                return "", ("", "")
            try:
                user, password = (self._directory / generation / "credential").read_text().split()
            except FileNotFoundError:
                continue
            if self._link() == generation:
                return generation, (user, password)

    def _link(self) -> str:
        try:
            return str((self._directory / "..data").readlink())
        except FileNotFoundError:
            return ""

    @asynccontextmanager
    async def on(self, socket: Path) -> AsyncIterator[None]:
        """While entered it answers /reload and /health."""
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.01)
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/reload":
            self.generation, self._held = self.seen()
            if self.is_choosy and self.user not in self._known:
                self._shunned.add(self.user)
            self._known.add(self.user)
            return web.Response()
        is_well = self.user not in self._shunned and await self._works(self._held)
        return web.Response(status=200 if is_well else 503)

    async def probe(self) -> None:
        """Try what the files hold, again and again; never returns."""
        while True:
            seen = self.seen()
            if seen[0] and not await self._works(seen[1]) and self.seen() == seen:
                self.dead.append(f"{seen[0]}: {seen[1][0]}")
            await asyncio.sleep(EVERY)

    async def works(self) -> bool:
        """What it works with lets it in."""
        return await self._works(self._held)

    async def _works(self, credential: Credential) -> bool:
        return await asyncio.to_thread(self._postgres.can_log_in, *credential)
