"""An app that lives by its database credential, and says so when it is asked for its health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.rig.postgres import Postgres

EVERY = 0.25


class App:
    """Uses what it read when it started, and moves on a moment after it was told to reload.

    `users` are those that it has worked as, oldest first; `denied` those that PostgreSQL refused.
    While `is_slow` it goes on with what it has, and does not confirm.
    """

    def __init__(self, postgres: Postgres, file: Path) -> None:
        self._postgres, self._file = postgres, file
        self._held: tuple[str, str] = ("", "")
        self._is_busy = asyncio.Lock()
        self.users: list[str] = []
        self.denied: list[str] = []
        self.logins = 0
        self.is_slow = self._is_to_move = False

    @property
    def user(self) -> str:
        """Whom it works as now."""
        return self._held[0]

    @asynccontextmanager
    async def on(self, socket: Path) -> AsyncIterator[None]:
        """While entered it answers /reload and /health."""
        self._read()
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.01)
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def work(self) -> None:
        """Log in again and again; never returns."""
        while True:
            if not await self._log_in():
                self.denied.append(self.user)
            await asyncio.sleep(EVERY)
            if self._is_to_move and not self.is_slow:
                async with self._is_busy:
                    self._read()

    async def _log_in(self) -> bool:
        async with self._is_busy:
            username, password = self._held
            if username not in self.users:
                self.users.append(username)
            self.logins += 1
            return await asyncio.to_thread(self._postgres.can_log_in, username, password)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/reload":
            self._is_to_move = True
            return web.Response()
        is_well = not self._is_to_move and await self._log_in()
        return web.Response(status=200 if is_well else 503)

    def _read(self) -> None:
        username, password = self._file.read_text().split()
        self._held, self._is_to_move = (username, password), False
