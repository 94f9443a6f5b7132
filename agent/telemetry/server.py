"""/metrics, /livez, /readyz, /startupz and /status over HTTP, on TCP or a UNIX socket.

Anybody who can connect may ask: answers have names, versions and times, never a value. Requests
are GET or HEAD without a body, small, and a connection more than MOST_CONNECTIONS costs the oldest
its life, so that nobody can keep probes out or use up the agent's descriptors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from agent.config.model import Telemetry
from agent.core.errors import AgentError, ConfigurationError
from agent.telemetry.status import Status
from agent.unix_socket import bind_unix

if TYPE_CHECKING:
    from aiohttp import web

    from agent.telemetry.metrics import Metrics

DEFAULT_ADDRESS = "127.0.0.1:9847"
MOST_CONNECTIONS = 64
MOST_LINE_BYTES = 2048
MOST_HEADERS = 64
KEEPALIVE_SECONDS = 75.0
LAST_WORDS_SECONDS = 1.0
"""Time for the answers under way when the server ends."""

Answer = Callable[["web.BaseRequest"], Awaitable["web.Response"]]


class TelemetryServer:
    """`run` serves until it is cancelled. `listening` is set, and `address` known, once it does.

    `address` is `HOST:PORT` as bound (port 0 gives a free one) or the socket's path. `uid` and
    `gid` are the socket's, -1 for the agent's own. `is_alive` is asked for /livez.
    """

    def __init__(
        self,
        spec: Telemetry,
        status: Status,
        metrics: Metrics,
        *,
        uid: int = -1,
        gid: int = -1,
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self.address = ""
        self.listening = asyncio.Event()
        self._spec = spec
        self._status, self._metrics = status, metrics
        self._uid, self._gid = uid, gid
        self._is_alive = is_alive
        self._answers: dict[str, Answer] = {
            "/metrics": self._metrics_text,
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/startupz": self._startupz,
            "/status": self._status_json,
        }

    async def run(self) -> None:
        from aiohttp import web

        server = web.Server(
            self._answer,  # type: ignore[arg-type]  # any of its requests is a BaseRequest
            access_log=None,
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=0.0,
            max_line_size=MOST_LINE_BYTES,
            max_field_size=MOST_LINE_BYTES,
            max_headers=MOST_HEADERS,
        )
        try:
            async with self._listening(lambda: _newcomer(server)):
                self.listening.set()
                await asyncio.Event().wait()
        finally:
            self.listening.clear()
            await server.shutdown(LAST_WORDS_SECONDS)

    # --- answers ------------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        from aiohttp import web

        answer = self._answers.get(request.path)
        if answer is None:
            return web.Response(status=404, text="not found\n")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="GET or HEAD\n", headers={"Allow": "GET, HEAD"})
        if request.can_read_body:
            return _closing(web.Response(status=400, text="a request here has no body\n"))
        return await answer(request)

    async def _metrics_text(self, request: web.BaseRequest) -> web.Response:
        from aiohttp import web

        body, content_type = await self._metrics.scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _livez(self, request: web.BaseRequest) -> web.Response:
        return _verdict(self._is_alive(), [] if self._is_alive() else ["watchdog"])

    async def _readyz(self, request: web.BaseRequest) -> web.Response:
        return _verdict(self._status.is_ready(), self._status.missing())

    async def _startupz(self, request: web.BaseRequest) -> web.Response:
        is_started = self._status.is_started()
        return _verdict(is_started, [] if is_started else self._status.missing())

    async def _status_json(self, request: web.BaseRequest) -> web.Response:
        return _json(200, self._status.as_dict())

    # --- where --------------------------------------------------------------------------------

    @asynccontextmanager
    async def _listening(self, newcomer: Callable[[], asyncio.Protocol]) -> AsyncIterator[None]:
        if self._spec.socket is not None:
            bound = await asyncio.to_thread(
                bind_unix, self._spec.socket, mode=self._spec.mode, uid=self._uid, gid=self._gid
            )
            try:
                async with await _serve_unix(newcomer, bound.socket):
                    self.address = str(self._spec.socket)
                    yield
            finally:
                await asyncio.to_thread(bound.remove)
        else:
            async with await self._serve_tcp(newcomer) as server:
                host, port = server.sockets[0].getsockname()[:2]
                self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                yield
