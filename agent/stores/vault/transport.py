"""hvac's adapter over aiohttp: connections are kept, nothing blocks the loop.

Error policy, once for all requests: no answer, a broken one, 412, 5xx and 429 are an `Outage`
(store-wide but for a 500, which is about the path); 403 is `Denied`, 404 `Missing`, 400 and 405
`Invalid`. No body of an answer goes into an error: a plugin may have put a password there.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import Any

import msgspec
from yarl import URL

from agent.config.model import Tls
from agent.core.errors import (
    ConfigurationError,
    Denied,
    Invalid,
    Missing,
    Outage,
    RateLimited,
    Sealed,
    StoreError,
)
from agent.core.lean_aiohttp import aiohttp
from agent.stores.vault.lean_hvac import Adapter
from agent.stores.vault.tls import ssl_context

MAX_BODY = 32 * 1024 * 1024
REDIRECTS = 3
UNIX_HOST = "http://localhost"
HEALTH = "/v1/sys/health"

BY_POLICY = b"1 error occurred:"
"""How a 403 begins that is a policy's; that of a dead token names no error, or several."""


class Granted(msgspec.Struct, frozen=True):
    """The `auth` part of an answer."""

    client_token: str = ""
    accessor: str | None = None
    lease_duration: float | None = None
    renewable: bool | None = None
    num_uses: int | None = None

    def __repr__(self) -> str:
        return "<Granted>"


class Answer(msgspec.Struct, frozen=True):
    """A server's answer, as far as it is looked at; strangers' shapes are refused by type."""

    data: dict[str, Any] | None = None
    auth: Granted | None = None
    lease_id: str | None = None
    lease_duration: float | None = None
    renewable: bool | None = None

    def __repr__(self) -> str:
        return "<Answer>"

    @property
    def fields(self) -> dict[str, Any]:
        return self.data or {}


class Connection:
    """The connections to one server, shared by all tokens. Opened in a running loop."""

    def __init__(
        self,
        store: str,
        address: str,
        *,
        tls: Tls,
        timeout: float,
        concurrent: int,
        namespace: str | None,
    ) -> None:
        self.store = store
        self.namespace = namespace
        is_unix = address.startswith("unix:")
        self.base = UNIX_HOST if is_unix else address.rstrip("/")
        self._tls = tls
        self._ssl: ssl.SSLContext | bool = True
        connector = (
            aiohttp.UnixConnector(path=address.removeprefix("unix:"), limit=concurrent)
            if is_unix
            else aiohttp.TCPConnector(limit=concurrent, ttl_dns_cache=30)
        )
        self._timeout = aiohttp.ClientTimeout(timeout)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "leasehold", "X-Vault-Request": "true"},
            middlewares=[_once],
        )

    @classmethod
    async def open(cls, store: str, address: str, **options: Any) -> Connection:
        """As the constructor, with the TLS files read; ConfigurationError if they can't be used."""
        connection = cls(store, address, **options)
        try:
            await connection.reload_tls()
        except ConfigurationError:
            await connection.close()
            raise
        return connection

    @property
    def tls_files(self) -> tuple[Path, ...]:
        files = (self._tls.ca_file, self._tls.cert_file, self._tls.key_file)
        return tuple(file for file in files if file is not None)

    async def reload_tls(self) -> None:
        """Use the TLS files as they are now, for new connections."""
        if self.base.startswith("https:"):
            self._ssl = await asyncio.to_thread(ssl_context, self.store, self._tls)

    async def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None,
        headers: dict[str, str],
        timeout: float | None = None,
        **body: Any,
    ) -> Answer:
        """The server's JSON object (an empty one for 204), or a StoreError."""
        operation = method.upper()
        if self._session.closed:
            raise Outage(operation, self.store, path, "the agent has closed its connections")
        headers = dict(headers)
        if token:
            headers["X-Vault-Token"] = token
        if self.namespace and path != HEALTH:  # not answered within one
            headers["X-Vault-Namespace"] = self.namespace
        url = self.base + path
        for _ in range(REDIRECTS + 1):
            try:
                async with self._session.request(
                    operation,
                    URL(url, encoded=True) if "%" in url else url,
                    headers=headers,
                    ssl=self._ssl,
                    server_hostname=self._tls.server_name,
                    allow_redirects=False,
                    timeout=self._timeout if timeout is None else aiohttp.ClientTimeout(timeout),
                    **body,
                ) as response:
                    if response.status in (307, 308):
                        url = self._redirected(operation, path, url, response)
                        continue
                    content = await _whole(response)
            except TimeoutError:
                raise self._no_answer(operation, path, url, "no answer in time") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise self._no_answer(operation, path, url, reason_of(error)) from None
            self._raise_for_status(operation, path, response, content)
            return self._parsed(operation, path, content)
        raise Outage(operation, self.store, path, "redirected too often")

    def _no_answer(self, operation: str, path: str, url: str, reason: str) -> Outage:
        """Of this server, or of the leader that it points to: then that is named."""
        if url == self.base + path:
            return Outage(operation, self.store, path, reason)
        reason = f"the leader that it points to, {URL(url).authority}: {reason}"
        return Outage(operation, self.store, path, reason, is_of_leader=True)

    def _redirected(
        self, operation: str, path: str, url: str, response: aiohttp.ClientResponse
    ) -> str:
        """Where a standby points to; the token never goes to a less protected place."""
        target = URL(url).join(URL(response.headers.get("Location", "")))
        if target.scheme != URL(url).scheme or not target.host:
            raise Outage(operation, self.store, path, "redirected to another scheme; not followed")
        return str(target)

    def _raise_for_status(
        self, operation: str, path: str, response: aiohttp.ClientResponse, content: bytes | None
    ) -> None:
        status = response.status
        if status < 300 and content is None:
            reason = f"the answer is larger than {MAX_BODY // 1024 // 1024} MiB"
            raise Outage(operation, self.store, path, reason, is_store_wide=False)
        if status < 300:
            return
        where = (operation, self.store, path)
        retry_after = _retry_after(response.headers.get("Retry-After"))
        if status == 429 or (status == 503 and retry_after is not None):
            asked = 1.0 if retry_after is None else retry_after
            raise RateLimited(*where, f"asked for quiet ({status})", retry_after=asked)
        if status in (501, 503):
            raise Sealed(*where, f"sealed, not initialised or without a leader ({status})")
        kinds: dict[int, tuple[type[StoreError], str]] = {
            400: (Invalid, "the request was refused as invalid (400)"),
            404: (Missing, "nothing there (404)"),
            405: (Invalid, "not supported at this path (405)"),
        }
        if status in (401, 403):
            is_by_policy = BY_POLICY in (content or b"")
            raise Denied(*where, f"permission denied ({status})", is_by_policy=is_by_policy)
        if status in kinds:
            kind, reason = kinds[status]
            raise kind(*where, reason)
        raise Outage(*where, f"status {status}", is_store_wide=status != 500)

    def _parsed(self, operation: str, path: str, content: bytes | None) -> Answer:
        if not content:
            return Answer()
        try:
            return msgspec.json.decode(content, type=Answer)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            reason = "the answer is not the JSON of a Vault server"
            raise Outage(operation, self.store, path, reason) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


class AiohttpAdapter(Adapter):  # type: ignore[misc]  # hvac has no types
    """An hvac adapter whose methods return coroutines of the parsed JSON, for one token."""

    def __init__(self, connection: Connection, token: str | None) -> None:
        super().__init__(
            base_uri=connection.base,
            token=token,
            namespace=connection.namespace,
            session=_NoSession,
        )
        self._connection = connection

    async def login(self, url: str, use_token: bool = True, **kwargs: Any) -> Answer:
        return await self._send("post", url, **kwargs)

    def get_login_token(self, response: Answer) -> str:
        return response.auth.client_token if response.auth else ""

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        raise_exception: bool = True,
        **kwargs: Any,
    ) -> Any:
        return self._send(method, url, headers, **kwargs)

    async def _send(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        *,
        wrap_ttl: str | None = None,
        **kwargs: Any,
    ) -> Answer:
        headers = dict(headers or {})
        if wrap_ttl:
            headers["X-Vault-Wrap-TTL"] = wrap_ttl
        path = "/" + "/".join(part for part in url.split("/") if part)
        return await self._connection.send(
            method, path, token=self.token, headers=headers, **kwargs
        )


class _NoSession:
    """hvac asks its session for these before it would use it; it never does."""

    verify = None
    cert = None
    proxies = None


def number(value: object) -> float:
    """A number from an answer's data; 0 for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else 0.0  # type: ignore[arg-type]


class _NoAnswer(aiohttp.ClientError):
    """`from` the error that aiohttp would take for a reason to send the request again."""


async def _once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Nothing is sent twice: a read that was cut off may have minted a credential."""
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _NoAnswer from error


def reason_of(error: BaseException) -> str:
    """A foreign network error in a few words."""
    if isinstance(error, _NoAnswer) and error.__cause__ is not None:
        return reason_of(error.__cause__)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        why = getattr(cause, "verify_message", "") or type(cause).__name__
        return f"its certificate is not trusted: {why}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"can't connect: {_words(error.os_error)}"
    if isinstance(error, aiohttp.ServerDisconnectedError | OSError):
        return "the connection was closed before the answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer was cut short"
    return f"the connection failed ({type(error).__name__})"


def _words(error: OSError) -> str:
    """The system's words; asyncio has its own for a refused connection, with the address only."""
    text = error.strerror or type(error).__name__
    is_asyncios = error.errno is not None and text.startswith("Connect call failed")
    return os.strerror(error.errno or 0) if is_asyncios else text


async def _whole(response: aiohttp.ClientResponse) -> bytes | None:
    """The body; None when it is larger than anything a vault has to say."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MAX_BODY:
            response.close()
            return None
        parts.append(part)
    return b"".join(parts)


def _retry_after(value: str | None) -> float | None:
    """Seconds; the date form is not sent by vaults, and is not worth a wall clock."""
    try:
        return None if value is None else min(max(float(value), 0.0), 3600.0)
    except ValueError:
        return None
