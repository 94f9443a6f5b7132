"""Apps that are told to reload: a server on a UNIX socket, and a command that keeps a diary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession, UnixConnector, web

from tests.rig.postgres import Postgres


class ServedApp:
    """Answers `status` to everything, and keeps what it was asked ("POST /reload")."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 200

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        return web.Response(status=self.status)

    @asynccontextmanager
    async def on(self, socket: Path) -> AsyncIterator[ServedApp]:
        """While entered it listens."""
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.01)
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        try:
            yield self
        finally:
            await runner.cleanup()


class Diary:
    """A command that writes down each call, and fails while it is told to."""

    def __init__(self, folder: Path, name: str = "diary") -> None:
        self._file, self._script = folder / f"{name}.txt", folder / f"{name}.sh"
        self._failing = folder / f"{name}.fail"
        self._script.write_text(
            "#!/bin/sh\n"
            f'echo "$LEASEHOLD_BUNDLE $LEASEHOLD_GENERATION $*" >> {self._file}\n'
            f"test ! -e {self._failing}\n"
        )
        self._script.chmod(0o755)

    @property
    def command(self) -> list[str]:
        return [str(self._script)]

    def entries(self) -> list[str]:
        """`BUNDLE GENERATION ARGUMENTS`, oldest first."""
        return self._file.read_text().splitlines() if self._file.exists() else []

    def fail(self) -> None:
        """End with 1 from now on."""
        self._failing.touch()

    def recover(self) -> None:
        self._failing.unlink()


class DatabaseApp:
    """Logs in to PostgreSQL again and again with what it read when it was last told to reload."""

    def __init__(self, postgres: Postgres, file: Path) -> None:
        self._postgres, self._file = postgres, file
        self._held: tuple[str, str] = ("", "")
        self._is_busy = asyncio.Lock()
        self.users: list[str] = []
        self.refused: list[str] = []

    @asynccontextmanager
    async def on(self, socket: Path) -> AsyncIterator[None]:
        """While entered, any request to the socket is its reload."""
        self._read()
        runner = web.ServerRunner(web.Server(self._reload), shutdown_timeout=0.01)
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def work(self, *, seconds: float, every: float) -> None:
        """Log in `every` so many seconds; users are kept in the order of their first login."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            async with self._is_busy:
                username, password = self._held
                is_in = await asyncio.to_thread(self._postgres.can_log_in, username, password)
            if not is_in:
                self.refused.append(username)
            if username not in self.users:
                self.users.append(username)
            await asyncio.sleep(every)

    async def _reload(self, request: web.BaseRequest) -> web.StreamResponse:
        async with self._is_busy:
            self._read()
        return web.Response()

    def _read(self) -> None:
        username, password = self._file.read_text().split()
        self._held = (username, password)


async def ask(socket: Path, path: str) -> tuple[int, str]:
    """GET over a UNIX socket: status and body."""
    async with (
        ClientSession(connector=UnixConnector(str(socket))) as session,
        session.get(f"http://localhost{path}") as answer,
    ):
        return answer.status, await answer.text()
