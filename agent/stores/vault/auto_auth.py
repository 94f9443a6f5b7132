"""Auto-auth: log in, keep tokens alive, log in again before they end.

In Vault a lease dies with the token that made it. So a token is renewed for as long as that can be
done, and nothing is minted anew. When it nears its own end (a maximum, or it can't be renewed) the
next token is had while the old one lives; the old one's leases are replaced one by one, and only
when none is left is it given up. A token that turns out dead takes its leases with it, and whoever
watches one of them is told at once.

A credential that changes on disk (a JWT, a token file) is used at once for what comes next; the
token it replaces goes on being renewed for the leases that hang on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from agent.core.backoff import Backoff
from agent.core.clock import Clock
from agent.core.errors import Denied, Invalid, NotLoggedIn, Outage, StoreError
from agent.core.events import (
    Advice,
    Emit,
    LoggedIn,
    LoginFailed,
    TokenEnding,
    TokenLost,
    TokenRenewed,
    TokenRevoked,
)
from agent.core.lease import Act, Due, Policy, Term, due
from agent.stores.base import Parent
from agent.stores.budget import Priority
from agent.stores.vault.auth import AuthMethod, Grant
from agent.stores.vault.client import VaultClient

LONGEST_LOGIN_PAUSE = 300.0
SHORTEST_TOKEN_LIFE = 5.0
"""A token that is dead sooner than this counts as a failed login: no loop of logins."""


@dataclass(slots=True, eq=False)
class Token:
    """One token that the agent holds. `term` None: never ends."""

    id: str
    client: VaultClient = field(repr=False)
    secret: str = field(repr=False)
    term: Term | None
    is_ours: bool
    had_at: float
    proven_at: float
    leases: set[str] = field(default_factory=set)
    ending_since: float | None = None
    is_renewable: bool = True
    retry_at: float | None = None

    @property
    def ends_at(self) -> float | None:
        return None if self.term is None else self.term.ends_at


T = TypeVar("T")


class Paced(Protocol):
    """Sends one request at the store's pace, and keeps account of whether the store answers."""

    async def __call__(
        self, priority: Priority, operation: str, send: Callable[[], Awaitable[T]]
    ) -> T: ...


class AutoAuth:
    """The tokens of one store. `current` is for new requests, the others live for their leases."""

    def __init__(
        self,
        store: str,
        method: AuthMethod,
        client: VaultClient,
        *,
        paced: Paced,
        opened: Callable[[], Awaitable[None]],
        clock: Clock,
        emit: Emit,
        policy: Policy,
        changed: Callable[[], None],
    ) -> None:
        self._store, self._method, self._client = store, method, client
        self._paced, self._opened = paced, opened
        self._clock, self._emit, self._policy = clock, emit, policy
        self._changed = changed
        self._backoff = Backoff(first=1.0, ceiling=LONGEST_LOGIN_PAUSE)
        self._tokens: list[Token] = []
        self._wake = asyncio.Event()
        self._wants_login = True
        self._login_at = 0.0
        self._proofs: dict[str, asyncio.Lock] = {}
        self.current: Token | None = None
        self.refusal: StoreError | None = None

    # --- for the store ------------------------------------------------------------------------

    def token(self) -> Token:
        """The token for a new request; NotLoggedIn if there is none."""
        if self.current is None:
            reason = "not logged in yet" if self.refusal is None else self.refusal.reason
            raise NotLoggedIn("log in", self._store, self._method.name, reason)
        return self.current

    def use_new_credential(self) -> None:
        """The credential on disk is another one: log in with it now."""
        self._wants_login, self._login_at = True, 0.0
        self._wake.set()

    def parent(self, token_id: str | None) -> Parent:
        """What is known of the token that made a lease; one that is not held any more is dead."""
        for token in self._tokens:
            if token.id == token_id:
                return Parent(True, token.ends_at, token.ending_since)
        return Parent(is_alive=token_id is None)

    def hangs_on(self, token_id: str, lease_id: str) -> None:
        """A lease was made by a token."""
        for token in self._tokens:
            if token.id == token_id:
                token.leases.add(lease_id)

    def forget(self, lease_id: str) -> None:
        """A lease is gone; the last one of an old token lets that go, too."""
        for token in self._tokens:
            token.leases.discard(lease_id)
            if not token.leases and token is not self.current:
                self._wake.set()

    async def is_dead(self, token: Token, sent_at: float) -> bool:
        """After a 403: is it the token, or the path? Asked once for all who wonder.

        Raises `Outage` when there was no answer to tell by.
        """
        async with self._proofs.setdefault(token.id, asyncio.Lock()):
            if token not in self._tokens:
                return True
            if token.proven_at > sent_at:
                return False
            try:
                await self._paced(Priority.LOGIN, "look up token", token.client.lookup_self)
            except (Denied, Invalid):
                self._lost(token, "it was revoked or has ended")
                return True
            token.proven_at = self._clock.now()
            return False

    # --- the loop -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Log in and keep logged in; never returns."""
        while True:
            self._wake.clear()
            if self._wants_login and self._clock.now() >= self._login_at:
                await self._log_in()
            for token in list(self._tokens):
                await self._tend(token)
            await self._clock.wait(self._wake, self._next_look())

    def _next_look(self) -> float | None:
        looks = [at for token in self._tokens if (at := self._next_look_at(token)) is not None]
        if self._wants_login:
            looks.append(self._login_at)
        return min(looks, default=None)

    def _next_look_at(self, token: Token) -> float | None:
        if token.term is None:
            return None
        if token.ending_since is not None:
            return token.term.ends_at
        at = self._due(token, token.term).at
        return at if token.retry_at is None else max(at, token.retry_at)

    def _due(self, token: Token, term: Term) -> Due:
        planned = due(term, self._policy)
        return planned if token.is_renewable else Due(planned.at, Act.REPLACE)

    async def _log_in(self) -> None:
        await self._opened()
        asked_at = self._clock.now()
        try:
            grant = await self._paced(
                Priority.LOGIN, "log in", lambda: self._method.login(self._client)
            )
        except StoreError as error:
            self._login_failed(error)
        else:
            await self._use(grant, asked_at)

    def _login_failed(self, error: StoreError) -> None:
        """An outage of the whole store sets the pace by itself; else there is a backoff."""
        if isinstance(error, Outage) and error.is_store_wide:
            return
        if not isinstance(error, Outage):
            self.refusal = error
        pause = self._backoff.delay()
        self._login_at = self._clock.now() + pause
        self._emit(
            LoginFailed(
                store=self._store, method=self._method.name, reason=error.reason, retry_after=pause
            )
        )

    async def _use(self, grant: Grant, asked_at: float) -> None:
        """A grant becomes the current token; the one before lives on for its leases."""
        self.refusal = None
        term = None
        if grant.ttl is not None:
            term = Term(asked_at, grant.ttl, grant.is_renewable, grant.ttl)
        before = self.current
        if before is not None and before.secret == grant.token:  # a file that was not replaced
            self._same_token_again(before, term)
            return
        self.current = Token(
            id=grant.id,
            client=self._client.with_token(grant.token),
            secret=grant.token,
            term=term,
            is_ours=grant.is_ours,
            had_at=asked_at,
            proven_at=self._clock.now(),
        )
        self._tokens.append(self.current)
        self._wants_login = False
        if before is None or asked_at - before.had_at >= SHORTEST_TOKEN_LIFE:
            self._backoff.reset()
        self._emit(LoggedIn(store=self._store, method=self._method.name, ttl_seconds=grant.ttl))
        self._changed()
        self._wake.set()
        await self._clean_up_credential()

    def _same_token_again(self, token: Token, term: Term | None) -> None:
        """The provider has not replaced the token: live with it, and look again later."""
        self._wants_login = False
        if term is not None and token.term is not None and term.ends_at > token.term.ends_at + 1:
            token.term, token.is_renewable, token.retry_at = term, True, None
            self._backoff.reset()
        else:
            token.retry_at = self._clock.now() + self._backoff.delay()

    async def _clean_up_credential(self) -> None:
        try:
            await self._method.logged_in()
        except OSError as error:
            text = f"the credential's file can't be removed: {error.strerror}"
            self._emit(Advice(subject=self._store, text=text))

    # --- one token ----------------------------------------------------------------------------

    async def _tend(self, token: Token) -> None:
        """Whatever one token needs now: nothing, a renewal, a successor, its end."""
        now = self._clock.now()
        if token is not self.current and not token.leases:
            await self._give_up(token)
        elif token.term is None or (token.retry_at is not None and now < token.retry_at):
            return
        elif token.term.ends_at <= now:
            self._lost(token, "its time is over")
        elif token.ending_since is None and (planned := self._due(token, token.term)).at <= now:
            if planned.act is Act.RENEW:
                await self._renew(token, token.term)
            else:
                await self._replace(token)

    async def _renew(self, token: Token, term: Term) -> None:
        asked_at = self._clock.now()
        try:
            answer = await self._paced(
                Priority.RENEW,
                "renew token",
                lambda: token.client.renew_self(increment=round(term.full)),
            )
        except Outage:
            token.retry_at = asked_at + min(1.0, term.full / 20)
            await self._opened()
        except StoreError:  # it may not renew itself, or is dead
            if not await self.is_dead(token, asked_at):
                token.is_renewable = False
                self._wake.set()
        else:
            auth = answer.get("auth") or {}
            lasts = float(auth.get("lease_duration") or 0)
            token.term = term.renewed(asked_at, lasts, bool(auth.get("renewable")))
            token.proven_at, token.retry_at = self._clock.now(), None
            self._emit(TokenRenewed(store=self._store, ttl_seconds=lasts))

    async def _replace(self, token: Token) -> None:
        """A token that nears its own end: the next one first, then its leases are to move."""
        if token is self.current:
            self._wants_login = True
            if self._clock.now() < self._login_at:
                token.retry_at = self._login_at
                return
            await self._log_in()
            if token is self.current:
                return
        token.ending_since = self._clock.now()
        left = None if token.term is None else token.term.ends_at - token.ending_since
        if token.leases:
            self._emit(
                TokenEnding(
                    store=self._store,
                    leases=len(token.leases),
                    ends_after=left,
                    reason="the token nears its end and has a successor",
                )
            )
        self._changed()
        self._wake.set()

    async def _give_up(self, token: Token) -> None:
        """An old token without leases: revoked, if it is ours."""
        self._tokens.remove(token)
        self._proofs.pop(token.id, None)
        if token.is_ours:
            await self.revoke(token)

    def _lost(self, token: Token, reason: str) -> None:
        self._tokens.remove(token)
        self._proofs.pop(token.id, None)
        self._emit(TokenLost(store=self._store, leases=len(token.leases), reason=reason))
        if token is self.current:
            self.current = None
            self._wants_login = True
            is_young = self._clock.now() - token.had_at < SHORTEST_TOKEN_LIFE
            self._login_at = self._clock.now() + self._backoff.delay() if is_young else 0.0
        self._changed()
        self._wake.set()

    async def revoke(self, token: Token) -> None:
        """Give a token back; whatever hangs on it ends with it. A failure leaves it to its TTL."""
        try:
            await self._paced(Priority.REVOKE, "revoke token", token.client.revoke_self)
        except StoreError as error:
            text = f"a token that is no longer used was not revoked: {error.reason}"
            self._emit(Advice(subject=self._store, text=text))
        else:
            self._emit(TokenRevoked(store=self._store))

    async def give_up_all(self) -> None:
        """The end: every token of ours is revoked, the current one last."""
        for token in sorted(self._tokens, key=lambda each: each is self.current):
            if token.is_ours:
                await self.revoke(token)
        self._tokens.clear()
        self.current = None
