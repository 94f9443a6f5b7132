"""One HTTP request to an app, of whose answer only the status counts.

`http://…` and `https://…` (the system's authorities) or `http+unix:/SOCKET:/PATH`. Each request has
a connection of its own, follows no redirect and uses no proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from agent.core.errors import ConfigurationError, DeliveryError
from agent.core.events import duration
from agent.core.lean_aiohttp import aiohttp

BODY_LIMIT = 4096
_UNIX = "http+unix:"


@dataclass(frozen=True)
class Endpoint:
    """Where a request goes; `shown` is without the user, password and query that `url` may have."""

    url: str = field(repr=False)
    shown: str
    socket: str | None = None

    async def ask(self, method: str, *, timeout: float) -> int:
        """The answer's status, `timeout` seconds later at most; DeliveryError if there is none."""
        try:
            async with asyncio.timeout(timeout):
                return await self._status(method)
        except TimeoutError:
            reason = f"no answer within {duration(timeout)}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = _reason(error)
        raise DeliveryError(self.shown, reason)

    async def _status(self, method: str) -> int:
        async with (
            aiohttp.ClientSession(
                connector=await self._connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(),
                auto_decompress=False,
            ) as session,
            session.request(method, self.url, allow_redirects=False) as response,
        ):
            with contextlib.suppress(aiohttp.ClientError):  # the status stands
                await response.content.read(BODY_LIMIT)
            return response.status

    async def _connector(self) -> aiohttp.BaseConnector:
        if self.socket is not None:
            return aiohttp.UnixConnector(self.socket, force_close=True)
        return aiohttp.TCPConnector(force_close=True, ssl=await self._tls())

    async def _tls(self) -> ssl.SSLContext | bool:
        if self.url.startswith("https:"):
            return await asyncio.to_thread(ssl.create_default_context)
        return True


def endpoint(url: str) -> Endpoint:
    """The endpoint of a configured URL; ConfigurationError if it is none."""
    if url.startswith(_UNIX):
        return _unix_endpoint(url.removeprefix(_UNIX))
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigurationError(["http: must be http://…, https://… or http+unix:/SOCKET:/PATH"])
    shown_host = f"[{host}]" if ":" in host else host
    shown_port = "" if port is None else f":{port}"
    return Endpoint(url, f"{parts.scheme}://{shown_host}{shown_port}{parts.path or '/'}")


def _unix_endpoint(rest: str) -> Endpoint:
    socket, _, path = rest.partition(":/")
    socket = "/" + socket.lstrip("/") if socket.startswith("/") else ""
    if len(socket) < 2:
        raise ConfigurationError(["http: must be http+unix:/SOCKET:/PATH, with an absolute SOCKET"])
    shown = f"{_UNIX}{socket}:/{urlsplit('/' + path).path.lstrip('/')}"
    return Endpoint(f"http://localhost/{path}", shown, socket)


def _reason(error: Exception) -> str:
    """Why there was no answer, in our words: the library's quote the URL."""
    if isinstance(error, aiohttp.ClientSSLError):
        return "no TLS connection: the certificate or the protocol was refused"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "no connection: the host name does not resolve"
    if isinstance(error, aiohttp.InvalidURL):
        return "not a URL that can be asked"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    if isinstance(error, OSError) and error.errno:
        return f"no connection: {os.strerror(error.errno)}"
    return "an answer that is not HTTP"
