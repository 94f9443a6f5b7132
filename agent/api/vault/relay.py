"""What is passed on to the vault: identical reads once, and not too many of one user."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol

from agent.api.http import Answer, Reply, Request, Stream
from agent.api.http.message import JSON, Headers
from agent.api.vault.asking import SENT, Asked
from agent.api.vault.words import SOON, Refused, failed
from agent.core.errors import StoreError

MOST_OF_ONE_USER = 32
"""Requests that are passed on, or wait for it, at the same time."""

MOST_STREAMS_OF_ONE_USER = 2
"""Long answers that a user takes at the same time: each keeps one of the few places upstream for as
long as its reader likes."""

MISS = ("X-Cache", "MISS")


class UnderWay(Protocol):
    """An answer of the vault that has begun."""

    status: int
    headers: Headers

    @property
    def is_small(self) -> bool: ...
    async def whole(self) -> bytes: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def __anext__(self) -> bytes: ...
    async def aclose(self) -> None: ...


class Upstream(Protocol):
    """The vault, as `agent.stores.vault.passing` reaches it. All raise StoreErrors."""

    namespace: str

    async def with_our_token(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> UnderWay: ...
    async def as_it_is(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        is_urgent: bool = False,
    ) -> UnderWay: ...
    async def own_token(self) -> dict[str, object]: ...


Send = Callable[[Mapping[str, str]], Awaitable[UnderWay]]


class Relay:
    """Passes requests on, and turns what comes back into answers."""

    def __init__(self) -> None:
        self._flights: dict[tuple[str, ...], asyncio.Future[Answer | StoreError | None]] = {}
        self._busy: Counter[int | None] = Counter()
        self._streams: Counter[int | None] = Counter()

    async def with_our_token(self, upstream: Upstream, asked: Asked, request: Request) -> Reply:
        """By the agent's identity, in its namespace unless another is asked for."""

        async def send(headers: Mapping[str, str]) -> UnderWay:
            return await upstream.with_our_token(asked.method, asked.target, headers, request.body)

        is_shared = asked.method in ("GET", "LIST") and not asked.wraps and not request.body
        return await self._limited(upstream, asked, request, send, "ours" if is_shared else None)

    async def with_their_token(self, upstream: Upstream, asked: Asked, request: Request) -> Reply:
        """By the caller's own identity, or by none."""

        async def send(headers: Mapping[str, str]) -> UnderWay:
            token = {"X-Vault-Token": asked.token} if asked.token else {}
            return await upstream.as_it_is(
                asked.method, asked.target, {**headers, **token}, request.body
            )

        return await self._limited(upstream, asked, request, send, None)

    async def public(self, upstream: Upstream, asked: Asked, request: Request) -> Reply:
        """What the server tells everybody, also while it can't be used."""

        async def send(headers: Mapping[str, str]) -> UnderWay:
            return await upstream.as_it_is(asked.method, asked.target, {}, b"", is_urgent=True)

        return await self._limited(upstream, asked, request, send, "public")

    async def _limited(
        self, upstream: Upstream, asked: Asked, request: Request, send: Send, shared: str | None
    ) -> Reply:
        """`shared`: identical requests of the same kind get one answer."""
        uid = request.caller.uid
        if self._busy[uid] >= MOST_OF_ONE_USER:
            raise Refused(429, "too many requests of this user are under way", headers=(SOON,))
        self._busy[uid] += 1
        try:
            headers = _headers(upstream, asked, request)
            numbered = {**headers, "X-Correlation-Id": request.id}
            if shared is None:
                return await self._counted(uid, await _sent(send, numbered))
            key = (shared, asked.method, asked.target, *map(str, sorted(headers.items())))
            return await self._counted(uid, await self._once(key, send, numbered))
        except StoreError as error:
            raise failed(error) from None
        finally:
            self._busy[uid] -= 1
            if not self._busy[uid]:
                del self._busy[uid]

    async def _counted(self, uid: int | None, reply: Reply) -> Reply:
        """A stream takes one of its user's places until it is closed."""
        if isinstance(reply, Answer):
            return reply
        if self._streams[uid] >= MOST_STREAMS_OF_ONE_USER:
            await reply.close()
            raise Refused(429, "too many long answers of this user are under way", headers=(SOON,))
        self._streams[uid] += 1
        pieces = _Pieces(reply, lambda: self._left(uid))
        return Stream(pieces, reply.status, reply.headers)

    def _left(self, uid: int | None) -> None:
        self._streams[uid] -= 1
        if not self._streams[uid]:
            del self._streams[uid]

    async def _once(self, key: tuple[str, ...], send: Send, headers: Mapping[str, str]) -> Reply:
        """One of those who ask the same sends; what can't be kept whole is each one's own."""
        while (flight := self._flights.get(key)) is not None:
            outcome = await asyncio.shield(flight)
            if isinstance(outcome, StoreError):
                raise failed(outcome)
            if outcome is not None:
                return outcome
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        outcome = None
        try:
            reply = await _sent(send, headers)
            outcome = reply if isinstance(reply, Answer) else None
        except StoreError as error:
            outcome = error
            raise
        finally:
            del self._flights[key]
            flight.set_result(outcome)
        return reply


class _Pieces:
    """The pieces of a stream; `left` is called once it is closed."""

    def __init__(self, stream: Stream, left: Callable[[], None]) -> None:
        self._stream, self._left = stream, left
        self._is_closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._stream.chunks)

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._left()
        await self._stream.close()


def _headers(upstream: Upstream, asked: Asked, request: Request) -> dict[str, str]:
    headers = {name: request.headers[name] for name in SENT if name in request.headers}
    namespace = upstream.namespace if asked.namespace is None else asked.namespace
    return {**headers, "X-Vault-Namespace": namespace} if namespace else headers


async def _sent(send: Send, headers: Mapping[str, str]) -> Reply:
    passed = await send(headers)
    if passed.status == 204 or passed.is_small:
        body = await passed.whole()
        kind = dict(passed.headers).get("Content-Type", JSON)
        others = tuple(each for each in passed.headers if each[0] != "Content-Type")
        return Answer(passed.status, body, kind, (*others, MISS))
    return Stream(passed, passed.status, (*passed.headers, MISS))
