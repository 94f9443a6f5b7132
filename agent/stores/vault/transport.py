"""hvac's adapter over aiohttp: connections are kept, nothing blocks the loop.

A request that gets no answer is an `Outage`; what an answer means is said in `replies.py`.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from io import BytesIO
from pathlib import Path
from typing import Any

from yarl import URL

from agent.config.model import Tls
from agent.core.errors import ConfigurationError, Outage
from agent.core.lean_aiohttp import aiohttp
from agent.stores.vault.lean_hvac import Adapter
from agent.stores.vault.replies import Answer, parsed, raise_for_status, whole
from agent.stores.vault.tls import ssl_context

REDIRECTS = 3

INDEX = "X-Vault-Index"
"""How far the storage of the server that answered had come; OpenBao's is JSON in base64."""
UNIX_HOST = "http://localhost"
HEALTH = "/v1/sys/health"


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
        self._index = ""
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
        index = self._index
        if index and path != HEALTH:
            headers |= {INDEX: index, "X-Vault-Inconsistent": "forward-active-node"}
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
                    self._note_index(index, response)
                    content = await whole(response)
            except TimeoutError:
                raise self._no_answer(operation, path, url, "no answer in time") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise self._no_answer(operation, path, url, reason_of(error)) from None
            where = (operation, self.store, path)
            raise_for_status(where, response, content)
            return parsed(where, content)
        raise Outage(operation, self.store, path, "redirected too often")

    def _note_index(self, asked_with: str, response: aiohttp.ClientResponse) -> None:
        """No later request is answered by a member of the cluster that has not come as far.

        Else a standby that is behind would take a value back, or miss one that we have seen. An
        answer to a request that was sent before another one's answer came may be an older one.
        """
        fresh = response.headers.get(INDEX, "")
        if self._index == asked_with and fresh.startswith("eyJ") and response.status < 400:
            self._index = fresh

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

    async def begin(
        self, method: str, path: str, *, headers: dict[str, str], body: bytes
    ) -> aiohttp.ClientResponse:
        """Send a request that is not ours, as it is; its answer is open, whatever its status.

        `path` is quoted, with its query. Outage if there is no answer.
        """
        if self._session.closed:
            raise Outage(method, self.store, "", "the agent has closed its connections")
        url = self.base + path
        for _ in range(REDIRECTS + 1):
            try:
                response = await self._session.request(
                    method,
                    URL(url, encoded=True),
                    headers=headers,
                    data=BytesIO(body) if body else None,  # large bytes would go in one go
                    skip_auto_headers=("Content-Type", "Accept-Encoding"),
                    ssl=self._ssl,
                    server_hostname=self._tls.server_name,
                    allow_redirects=False,
                    timeout=self._timeout,
                )
            except TimeoutError:
                raise self._no_answer(method, path, url, "no answer in time") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise self._no_answer(method, path, url, reason_of(error)) from None
            if response.status not in (307, 308):
                return response
            response.release()
            url = self._redirected(method, path, url, response)
        raise Outage(method, self.store, "", "redirected too often")

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
