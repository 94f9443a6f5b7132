"""An app with a pool of connections to PostgreSQL that follows a file, run as a process of its own.

`python -m tests.deploy.pool_app HOST FILE SOCKET`: the file has a user name and a password. Several
workers query all the time; every query that is refused is counted. On its socket: POST /reload
opens a pool with what the file has now, tries it, and lets the connections before end their work;
GET /health is 200 while the pool in use is the file's, and 503 otherwise; GET /counts is JSON.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import psycopg
from aiohttp import web

CONNECTIONS = 4
PAUSE = 0.01
QUERY = "SELECT sum(amount), pg_sleep(0.05) FROM orders"

Connection = psycopg.AsyncConnection[tuple[object, ...]]


class Pool:
    """Open connections of one user."""

    def __init__(self, host: str, credential: tuple[str, str]) -> None:
        self.host, self.user, self._password = host, *credential
        self.free: asyncio.Queue[Connection] = asyncio.Queue()

    async def open(self) -> None:
        """Raises what psycopg does where this user may not log in or not query."""
        for _ in range(CONNECTIONS):
            connection = await psycopg.AsyncConnection.connect(
                host=self.host,
                user=self.user,
                password=self._password,
                dbname="postgres",
                autocommit=True,
            )
            self.free.put_nowait(connection)
            await connection.execute(QUERY)

    async def drain(self) -> None:
        """Each connection is closed once its query is over."""
        for _ in range(CONNECTIONS):
            await (await self.free.get()).close()

    async def abandon(self) -> None:
        """Close what has been opened."""
        while not self.free.empty():
            await self.free.get_nowait().close()


class App:
    """The pool in use, and the counts."""

    def __init__(self, host: str, file: Path) -> None:
        self._host, self._file = host, file
        self._pool: Pool | None = None
        self._is_reloading = asyncio.Lock()
        self.queries, self.refused = 0, 0
        self.users: list[str] = []
        self.reasons: list[str] = []

    def credential(self) -> tuple[str, str]:
        user, password = self._file.read_text().split()
        return user, password

    async def reload(self) -> None:
        """Move to the file's credential, if it works."""
        async with self._is_reloading:
            if self._pool is not None and self._pool.user == self.credential()[0]:
                return
            pool = Pool(self._host, self.credential())
            try:
                await pool.open()
            except psycopg.Error:
                await pool.abandon()
                return
            former, self._pool = self._pool, pool
            self.users.append(pool.user)
            if former is not None:
                await former.drain()

    def is_current(self) -> bool:
        is_moved = self._pool is not None and self._pool.user == self.credential()[0]
        return is_moved and not self._is_reloading.locked()

    async def work(self) -> None:
        while True:
            pool = self._pool
            assert pool is not None
            connection = await pool.free.get()
            try:
                await connection.execute(QUERY)
                self.queries += 1
            except psycopg.Error as error:
                self.refused += 1
                self.reasons.append(f"{pool.user}: {error}")
            finally:
                pool.free.put_nowait(connection)
            await asyncio.sleep(PAUSE)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/reload":
            await self.reload()
            return web.Response()
        if request.path == "/health":
            return web.Response(status=200 if self.is_current() else 503)
        return web.json_response(
            {
                "queries": self.queries,
                "refused": self.refused,
                "reasons": self.reasons[:20],
                "users": self.users,
            }
        )


async def main(host: str, file: str, socket: str) -> None:
    app, over = App(host, Path(file)), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await app.reload()
    runner = web.ServerRunner(web.Server(app.answer))
    await runner.setup()
    await web.UnixSite(runner, socket).start()
    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(app.work()) for _ in range(CONNECTIONS)]
        print("ready", flush=True)
        await over.wait()
        for worker in workers:
            worker.cancel()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
