"""Requests of local callers, passed on to the server: at the store's pace, after all of its own.

What the server answers is handed on as it is, in pieces. It says nothing of the store here: a
caller could provoke what it likes, and is not to close the store for everybody. The agent's own
token is never in what is handed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack

from agent.core.clock import Clock
from agent.core.errors import NotLoggedIn, Outage
from agent.core.events import Emit, RequestDone
from agent.core.lean_aiohttp import aiohttp
from agent.stores.availability import Availability
from agent.stores.budget import Budget, Priority
from agent.stores.vault.auto_auth import AutoAuth
from agent.stores.vault.replies import number
from agent.stores.vault.token import Token
from agent.stores.vault.transport import Connection, reason_of

OPERATION = "pass on"
PIECE = 64 * 1024
"""Bytes that are held of an answer at most."""

SHORTEST_TOKEN = 16
"""Characters; a shorter one (`root`, of a server for trying things out) is a word like others."""

HANDED_ON = ("Content-Type", "Retry-After", "Allow", "X-Vault-Index", "Warning")
"""Headers of answers that are meant for clients."""


class Passed:
    """An answer that has begun: iterate over its pieces, or take it `whole`; then `aclose`."""

    def __init__(
        self, response: aiohttp.ClientResponse, store: str, withheld: bytes, stack: AsyncExitStack
    ) -> None:
        """`withheld` must not be handed on; `stack` is closed at the end."""
        self.status = response.status
        self.headers = tuple(
            (name, response.headers[name]) for name in HANDED_ON if name in response.headers
        )
        self._response, self._store, self._stack = response, store, stack
        self._withheld, self._kept = withheld, b""
        self._is_over = False

    @property
    def is_small(self) -> bool:
        """It is known to fit into one piece."""
        length = self._response.content_length
        return length is not None and length <= PIECE

    async def whole(self) -> bytes:
        """All of it, then closed."""
        try:
            return b"".join([piece async for piece in self])
        finally:
            await self.aclose()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._is_over:
            if not (piece := await self._read()):
                await self.aclose()
                ready, self._kept = self._kept, b""
            else:
                ready = self._checked(piece)
            if ready:
                return ready
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Whatever has not come is given up."""
        self._is_over = True
        await self._stack.aclose()

    async def _read(self) -> bytes:
        try:
            return await self._response.content.read(PIECE)
        except TimeoutError:
            raise Outage(OPERATION, self._store, "", "the answer did not end in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Outage(OPERATION, self._store, "", reason_of(error)) from None

    def _checked(self, piece: bytes) -> bytes:
        """What may go; the end is kept until it is known not to be the withheld one's beginning."""
        seen = self._kept + piece
        if self._withheld and self._withheld in seen:
            raise Outage(OPERATION, self._store, "", "the answer would show the agent's token")
        end = max(0, len(seen) - max(0, len(self._withheld) - 1))
        self._kept = seen[end:]
        return seen[:end]


class Passing:
    """Passes on at most `most` requests at a time, so that the agent's own find room."""

    def __init__(
        self,
        store: str,
        connection: Connection,
        auth: AutoAuth,
        *,
        budget: Budget,
        availability: Availability,
        closed: Callable[[str], Outage],
        clock: Clock,
        emit: Emit,
        most: int,
    ) -> None:
        """`closed` is the error of an operation while the store is known not to be had."""
        self.namespace = connection.namespace or ""
        self._store, self._connection, self._auth = store, connection, auth
        self._budget, self._availability, self._closed = budget, availability, closed
        self._clock, self._emit = clock, emit
        self._places = asyncio.Semaphore(most)

    async def with_our_token(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Passed:
        """By the agent's own identity; StoreError if there is none, or no answer."""
        token = self._auth.token()
        sent_at = self._clock.now()
        passed = await self._pass_on(method, path, headers, body, token)
        if passed.status == 403 and await self._is_dead(token, sent_at, passed):
            await passed.aclose()
            raise NotLoggedIn(OPERATION, self._store, "", "the token is dead")
        return passed

    async def as_it_is(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        is_urgent: bool = False,
    ) -> Passed:
        """With what token the caller has, or none; Outage if there is no answer.

        `is_urgent`: also while the store is known not to be had, which is what is asked about.
        """
        return await self._pass_on(method, path, headers, body, None, is_urgent=is_urgent)

    async def own_token(self) -> dict[str, object]:
        """What the server knows of the agent's token, without what can be used of it."""
        token = self._auth.token()
        async with self._places, self._budget.slot(Priority.PASS_ON):
            with self._auth.using(token):
                answer = await token.client.lookup_self()
        kept_back = ("id", "accessor")
        return {key: value for key, value in answer.fields.items() if key not in kept_back} | {
            "ttl": int(number(answer.fields.get("ttl")))
        }

    async def _is_dead(self, token: Token, sent_at: float, passed: Passed) -> bool:
        try:
            return await self._auth.is_dead(token, sent_at)
        except BaseException:
            await passed.aclose()
            raise

    async def _pass_on(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        token: Token | None,
        *,
        is_urgent: bool = False,
    ) -> Passed:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._places)
            await stack.enter_async_context(self._budget.slot(Priority.PASS_ON))
            if not self._availability.is_open and not is_urgent:
                raise self._closed(OPERATION)
            sent = dict(headers)
            if token is not None:
                stack.enter_context(self._auth.using(token))
                sent["X-Vault-Token"] = token.secret
            response = await self._answered(method, path, sent, body)
            stack.callback(response.close)
            withheld = self._secret_in_use().encode()
            return Passed(response, self._store, withheld, stack.pop_all())

    def _secret_in_use(self) -> str:
        """A caller of its own may have learnt the agent's token; it does not learn it here."""
        secret = "" if self._auth.current is None else self._auth.current.secret
        return secret if len(secret) >= SHORTEST_TOKEN else ""

    async def _answered(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> aiohttp.ClientResponse:
        sent_at, outcome = self._clock.now(), "cancelled"
        try:
            response = await self._connection.begin(method, path, headers=headers, body=body)
            outcome = "ok" if response.status < 400 else "refused"
        except Outage as error:
            outcome = error.kind
            raise
        finally:
            seconds = self._clock.now() - sent_at
            self._emit(
                RequestDone(
                    store=self._store, operation=OPERATION, seconds=seconds, outcome=outcome
                )
            )
        return response
