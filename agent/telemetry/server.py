"""/metrics, /livez, /readyz, /startupz and /status over HTTP, on TCP or a UNIX socket.

Anybody who can connect may ask: answers have names, versions and times, never a value. Requests
are GET or HEAD without a body (more is for the doors, see `wishes`), small, and a connection more
than MOST_CONNECTIONS costs the oldest its life, so that nobody can keep probes out or use up the
agent's descriptors.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

import agent.core.lean_aiohttp  # noqa: F401  # before any part of aiohttp
from agent.config.addresses import host_and_port
from agent.config.model import Telemetry
from agent.config.report import Unfit
from agent.core.errors import AgentError, ConfigurationError
from agent.telemetry.status import Status
from agent.unix_socket import bind_unix

if TYPE_CHECKING:
    from aiohttp import web

    from agent.telemetry.metrics import Metrics
    from agent.telemetry.wishes import Door

DEFAULT_ADDRESS = "127.0.0.1:9847"
MOST_CONNECTIONS = 64
MOST_LINE_BYTES = 2048
MOST_HEADERS = 64
KEEPALIVE_SECONDS = 75.0
LAST_WORDS_SECONDS = 1.0
"""Time for the answers under way when the server ends."""

Newcomer = Callable[[], asyncio.Protocol]
Answer = Callable[["web.BaseRequest"], Awaitable["web.Response"]]


class TelemetryServer:
    """`run` serves until it is cancelled. `listening` is set, and `address` known, once it does.

    `address` is `HOST:PORT` as bound (port 0 gives a free one) or the socket's path. `uid` and
    `gid` are the socket's, -1 for the agent's own. `is_alive` is asked for /livez. `doors`, by
    path, are closed where others than this host's own processes can connect.
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
        doors: Mapping[str, Door[Any]] | None = None,
    ) -> None:
        self.address = ""
        self.listening = asyncio.Event()
        self._spec = spec
        self._status, self._metrics = status, metrics
        self._uid, self._gid = uid, gid
        self._is_alive = is_alive
        self._doors = doors or {}
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
            self._answer,
            access_log=None,
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=0.0,
            max_line_size=MOST_LINE_BYTES,
            max_field_size=MOST_LINE_BYTES,
            max_headers=MOST_HEADERS,
        )
        try:
            async with self._accepting(lambda: _newcomer(server)):
                self.listening.set()
                await asyncio.Event().wait()
        finally:
            self.listening.clear()
            server.pre_shutdown()
            await server.shutdown(LAST_WORDS_SECONDS)

    # --- answers ------------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        from aiohttp import web

        if (door := self._doors.get(request.path)) is not None:
            return await door.answer(request)
        answer = self._answers.get(request.path)
        if answer is None:
            return web.Response(status=404, text="not found\n")
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="GET or HEAD\n", headers={"Allow": "GET, HEAD"})
        if request.can_read_body:
            response = web.Response(status=400, text="a request here has no body\n")
            response.force_close()
            return response
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
    async def _accepting(self, newcomer: Newcomer) -> AsyncIterator[None]:
        accepting = self._on_tcp if self._spec.socket is None else self._on_unix
        async with accepting(newcomer) as server:
            try:
                yield
            finally:
                server.close()

    @asynccontextmanager
    async def _on_unix(self, newcomer: Newcomer) -> AsyncIterator[asyncio.Server]:
        path = self._spec.socket
        assert path is not None  # noqa: S101  # `_accepting` has looked
        bound = await asyncio.to_thread(
            bind_unix, path, mode=self._spec.mode, uid=self._uid, gid=self._gid
        )
        try:
            self.address = str(path)
            loop = asyncio.get_running_loop()
            yield await loop.create_unix_server(newcomer, sock=bound.socket)
        finally:
            await asyncio.to_thread(bound.remove)

    @asynccontextmanager
    async def _on_tcp(self, newcomer: Newcomer) -> AsyncIterator[asyncio.Server]:
        try:
            host, port = host_and_port(self._spec.address or DEFAULT_ADDRESS)
        except Unfit as unfit:
            raise ConfigurationError([f"telemetry.address: {unfit}"]) from None
        try:
            server = await asyncio.get_running_loop().create_server(newcomer, host, port)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise AgentError(f"can't listen on {host} port {port}: {reason}") from None
        bound = [each.getsockname()[:2] for each in server.sockets]
        self.address = _written(*bound[0])
        is_open = all(_is_loopback(host) for host, _ in bound)
        for door in self._doors.values():
            door.is_open = is_open
        yield server


def _newcomer(server: web.Server) -> asyncio.Protocol:
    """The protocol of one more connection; the oldest make room for it."""
    connections = server.connections
    for oldest in connections[: max(0, len(connections) + 1 - MOST_CONNECTIONS)]:
        oldest.force_close()
    return server()


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _verdict(is_good: bool, missing: list[str]) -> web.Response:
    return _json(200 if is_good else 503, {"ok": is_good, "missing": missing})


def _json(status: int, content: object) -> web.Response:
    from aiohttp import web

    body = msgspec.json.encode(content) + b"\n"
    return web.Response(status=status, body=body, content_type="application/json")
