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
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

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
from agent.core.lease import Act, Policy
from agent.stores.base import Parent
from agent.stores.budget import Paced, Priority
from agent.stores.vault.auth import AuthMethod, Grant
from agent.stores.vault.client import VaultClient
from agent.stores.vault.token import Token, Tokens, token_of

LONGEST_LOGIN_PAUSE = 300.0
LONGEST_PAUSE_WITHOUT_ANSWER = 15.0
SHORTEST_TOKEN_LIFE = 5.0
"""A token that dies sooner than this is no success of its login: the next is not at once."""


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
        self._tokens = Tokens()
        self._given_up: dict[Token, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._wants_login = True
        self._login_at = 0.0
        self._logging_in = asyncio.Lock()
        self._can_look_up = True
        self.current: Token | None = None
        self.refusal: StoreError | None = None

    # --- for the store ------------------------------------------------------------------------

    @property
    def is_logged_in(self) -> bool:
        return self.current is not None and not self.current.has_ended(self._clock.now())

    def token(self) -> Token:
        """The token for a new request; NotLoggedIn if there is none."""
        if self.current is None or not self.is_logged_in:
            raise self.absence()
        return self.current

    def absence(self) -> NotLoggedIn:
        """Why there is no token."""
        reason = "not logged in yet" if self.refusal is None else self.refusal.reason
        return NotLoggedIn("log in", self._store, self._method.name, reason)

    @contextmanager
    def using(self, token: Token) -> Iterator[None]:
        """While entered, the token is not given up."""
        token.in_use += 1
        try:
            yield
        finally:
            token.in_use -= 1
            if token is not self.current:
                self._wake.set()

    def use_new_credential(self) -> None:
        """The credential on disk is another one: log in with it now."""
        self._wants_login, self._login_at = True, 0.0
        self._wake.set()

    def parent(self, token_id: str | None) -> Parent:
        """What is known of the token that made a lease."""
        return self._tokens.parent(token_id, self._clock.now())

    def forget(self, lease_id: str, *, lives_on: bool = False) -> None:
        """A lease is gone; the last one of an old token lets that go, too."""
        self._tokens.forget(lease_id, lives_on=lives_on)
        if len(self._tokens) > 1:
            self._wake.set()

    async def is_dead(self, token: Token, sent_at: float) -> bool:
        """After a 403: is it the token, or the path? Asked once for all who wonder.

        Raises `Outage` when there was no answer to tell by.
        """
        async with token.proof:
            if token not in self._tokens:
                return True
            if token.proven_at > sent_at or not self._can_look_up:
                return False
            try:
                await self._paced(Priority.LOGIN, "look up token", token.client.lookup_self)
            except (Denied, Invalid) as error:
                if isinstance(error, Denied) and error.is_by_policy:
                    self._may_not_look_up()
                    return False
                self._lost(token, "it was revoked or has ended")
                return True
            token.proven_at = self._clock.now()
            return False

    def _may_not_look_up(self) -> None:
        self._can_look_up = False
        text = (
            "the policy does not allow auth/token/lookup-self: a revoked token is taken for a "
            "denied path until it ends"
        )
        self._emit(Advice(subject=self._store, text=text))

    # --- the loop -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Log in and keep logged in; never returns."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                if self._wants_login and self._clock.now() >= self._login_at:
                    await self._log_in()
                for token in list(self._tokens):
                    await self._tend(token, group)
                await self._clock.wait(self._wake, self._next_look())

    def _next_look(self) -> float | None:
        looks = [self._login_at] if self._wants_login else []
        for token in self._tokens:
            if (planned := token.due(self._policy)) is not None:
                looks.append(planned.at)
            if token.ends_at is not None:
                looks.append(token.ends_at)
        return min(looks, default=None)

    async def _log_in(self) -> None:
        await self._opened()
        async with self._logging_in:
            if not self._wants_login:
                return
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
        is_outage = isinstance(error, Outage)
        if not is_outage:
            self.refusal = error
            self._changed()
        self._backoff.ceiling = LONGEST_PAUSE_WITHOUT_ANSWER if is_outage else LONGEST_LOGIN_PAUSE
        pause = self._backoff.delay()
        self._login_at = self._clock.now() + pause
        store, method = self._store, self._method.name
        failed = LoginFailed(store=store, method=method, reason=error.reason, retry_after=pause)
        self._emit(failed)

    async def _use(self, grant: Grant, asked_at: float) -> None:
        """A grant becomes the current token; the one before lives on for its leases."""
        self.refusal, self._backoff.ceiling = None, LONGEST_LOGIN_PAUSE
        fresh = token_of(grant, self._client, asked_at=asked_at, now=self._clock.now())
        self._wants_login = False
        if self.current is not None and self.current.secret == grant.token:
            self._same_token_again(self.current, fresh)
            return
        self.current = fresh
        self._tokens.append(fresh)
        self._emit(LoggedIn(store=self._store, method=self._method.name, ttl_seconds=grant.ttl))
        if grant.uses:
            text = f"its tokens are good for {grant.uses} requests, and leases die with them"
            self._emit(Advice(subject=self._store, text=text))
        self._changed()
        self._wake.set()
        await self._clean_up_credential()

    def _same_token_again(self, token: Token, fresh: Token) -> None:
        """The provider has not replaced the token: live with it, and look again later."""
        if fresh.term is None or token.term is None or fresh.term.ends_at > token.term.ends_at + 1:
            token.term, token.can_renew, token.retry_at = fresh.term, True, 0.0
            token.proven_at = fresh.proven_at
        else:
            token.retry_at = self._clock.now() + token.backoff.delay()

    async def _clean_up_credential(self) -> None:
        try:
            await self._method.logged_in()
        except OSError as error:
            text = f"the credential's file can't be removed: {error.strerror}"
            self._emit(Advice(subject=self._store, text=text))

    # --- one token ----------------------------------------------------------------------------

    async def _tend(self, token: Token, group: asyncio.TaskGroup) -> None:
        """Whatever one token needs now: nothing, a renewal, a successor, its end."""
        now = self._clock.now()
        if token not in self._tokens:
            return
        if token.has_ended(now):
            self._lost(token, "its time is over")
        elif token is not self.current and not token.leases and not token.in_use:
            self._give_up(token, group)
        elif (planned := token.due(self._policy)) is not None and planned.at <= now:
            if planned.act is Act.RENEW:
                await self._renew(token)
            else:
                await self._replace(token)

    async def _renew(self, token: Token) -> None:
        asked_at = self._clock.now()
        try:
            answer = await self._paced(
                Priority.RENEW,
                "renew token",
                lambda: token.client.renew_self(increment=round(token.increment)),
            )
        except Outage:
            token.retry_at = asked_at + token.backoff.delay()
        except StoreError:
            await self._renewal_refused(token, asked_at)
        else:
            granted = answer.auth
            lasts = (granted.lease_duration if granted else None) or 0.0
            token.renewed(asked_at, lasts, bool(granted and granted.renewable))
            self._emit(TokenRenewed(store=self._store, ttl_seconds=lasts))
            self._changed()

    async def _renewal_refused(self, token: Token, asked_at: float) -> None:
        """It is dead, or may not renew itself: then it gets a successor now."""
        try:
            if not await self.is_dead(token, asked_at):
                token.can_renew = False
        except Outage:
            token.retry_at = asked_at + token.backoff.delay()

    async def _replace(self, token: Token) -> None:
        """A token that nears its own end: the next one first, then its leases are to move."""
        if token is self.current:
            self._wants_login = True
            if self._clock.now() >= self._login_at:
                await self._log_in()
            if token is self.current:
                token.retry_at = max(token.retry_at, self._login_at)
                return
        if token not in self._tokens:
            return
        token.ending_since = self._clock.now()
        if token.leases and token.ends_at is not None:
            left, leases = token.ends_at - token.ending_since, len(token.leases)
            reason = "the token nears its end and has a successor"
            self._emit(
                TokenEnding(store=self._store, leases=leases, ends_after=left, reason=reason)
            )
        self._changed()
        self._wake.set()

    def _lost(self, token: Token, reason: str) -> None:
        self._tokens.remove(token)
        self._emit(TokenLost(store=self._store, leases=len(token.leases), reason=reason))
        if token is self.current:
            self.current = None
            self._wants_login = True
            self._login_at = self._login_after(token)
        self._changed()
        self._wake.set()

    def _login_after(self, dead: Token) -> float:
        """At once after a token that has lived; slower and slower while they die unused."""
        now = self._clock.now()
        if now - dead.had_at >= SHORTEST_TOKEN_LIFE:
            self._backoff.reset()
            return now
        pause = self._backoff.delay()
        return now + (min(pause, SHORTEST_TOKEN_LIFE) if dead.has_served else pause)

    # --- the end of a token -------------------------------------------------------------------

    def _give_up(self, token: Token, group: asyncio.TaskGroup) -> None:
        """An old token without leases: revoked, if it is ours, and nobody waits for that."""
        self._tokens.remove(token)
        if token.is_ours and not token.is_left:
            revoking = group.create_task(self._revoke(token), name=f"{self._store}: revoke token")
            self._given_up[token] = revoking
            revoking.add_done_callback(lambda _: self._given_up.pop(token, None))

    async def _revoke(self, token: Token) -> None:
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
        async with self._logging_in:  # a token that is on its way is not forgotten
            tokens, current = list(self._tokens), self.current
            self._tokens.clear()
            self.current, self._wants_login = None, False
        if self._given_up:
            await asyncio.wait(list(self._given_up.values()))
        for token in sorted(tokens, key=lambda each: each is current):
            if token.is_ours and not token.is_left:
                await self._revoke(token)
