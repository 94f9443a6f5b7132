"""A real HAProxy as Debian starts it: a master, a worker that is not root, an admin socket."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from tests.rig.needs import needs_program, needs_root
from tests.rig.processes import Daemon, wait_until
from tests.rig.waiting import eventually

GLOBAL = """
global
    log stderr format raw local0 notice
    user haproxy
    group haproxy
    stats socket {folder}/admin.sock mode 660 level admin

defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s

"""
PIECES, PIECE, BETWEEN = 8, b"x" * 8192, 0.2


class HAProxy:
    """Its sections `global` and `defaults` are here; `sections` are the site's."""

    def __init__(self, folder: Path, sections: str) -> None:
        needs_root()
        self._program = needs_program("haproxy")
        needs_program("socat")
        folder.mkdir()
        self.socket, self._file = folder / "admin.sock", folder / "haproxy.cfg"
        self._file.write_text(GLOBAL.format(folder=folder) + sections)
        self._daemon: Daemon | None = None

    @property
    def pid(self) -> int:
        """The master's."""
        assert self._daemon is not None
        return self._daemon.pid

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await asyncio.to_thread(self._start)
        try:
            yield
        finally:
            assert self._daemon is not None
            await asyncio.to_thread(self._daemon.end, signal.SIGTERM)

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(child) for child in children.split()]

    async def reload(self) -> None:
        """As `systemctl reload` does it; there is another worker then."""
        before = set(self.workers())
        os.kill(self.pid, signal.SIGUSR2)
        await eventually(lambda: set(self.workers()) - before, within=60)

    def _start(self) -> None:
        self._daemon = Daemon([self._program, "-W", "-f", str(self._file)], dict(os.environ))
        wait_until(lambda: self.socket.exists() and self.workers(), within=60)


@asynccontextmanager
async def backend(port: int) -> AsyncIterator[None]:
    """An app on 127.0.0.1; its answers to /slow take a while."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/slow":
            return web.Response(text="well\n")
        slow = web.StreamResponse(headers={"Content-Length": str(PIECES * len(PIECE))})
        await slow.prepare(request)
        for _ in range(PIECES):
            await slow.write(PIECE)
            await asyncio.sleep(BETWEEN)
        return slow

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=60)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()
