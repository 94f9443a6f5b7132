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
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from agent.core.book import KeptToken
from agent.core.clock import Clock
from agent.core.errors import NotLoggedIn, Outage, StoreError
from agent.core.events import (
    Emit,
    TokenEnding,
    TokenLost,
    TokenRenewed,
    TokenResumed,
    TokensNotRevoked,
)
from agent.core.lease import Act, Policy
from agent.stores.base import UNKNOWN, Parent
from agent.stores.budget import Paced, Priority
from agent.stores.vault.auth import AuthMethod, Grant
from agent.stores.vault.client import VaultClient
from agent.stores.vault.giving_up import GivingUp
from agent.stores.vault.login import Login
from agent.stores.vault.proof import Proof
from agent.stores.vault.token import Token, Tokens, restored, token_of

OUTWORN = "a run that was killed may have left a lease that nobody knows, so its token is replaced"


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
        self._store, self._client = store, client
        self._paced, self._opened = paced, opened
        self._clock, self._emit, self._policy = clock, emit, policy
        self._changed = changed
        self._login = Login(
            store, method, client, paced=paced, clock=clock, emit=emit, changed=changed
        )
        self._tokens = Tokens()
        self._giving_up = GivingUp(store, paced=paced, emit=emit)
        self._proof = Proof(
            store, paced=paced, clock=clock, emit=emit, lost=self._lost, renew=self._renew
        )
        self._wake = asyncio.Event()
        self._logging_in = asyncio.Lock()
        self.current: Token | None = None

    # --- for the store ------------------------------------------------------------------------

    @property
    def refusal(self) -> StoreError | None:
        """Why nobody can log in just now, if so."""
        return self._login.refusal

    @property
    def is_logged_in(self) -> bool:
        token = self.current
        return token is not None and token.is_proven and not token.has_ended(self._clock.now())

    def token(self) -> Token:
        """The token for a new request; NotLoggedIn if there is none."""
        if self.current is None or not self.is_logged_in:
            raise self.absence()
        return self.current

    def absence(self) -> NotLoggedIn:
        """Why there is no token."""
        return self._login.absence(
            "not logged in yet" if self.current is None else "the token is not proven yet"
        )

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
        self._login.now()
        self._wake.set()

    def parent(self, token_id: str | None) -> Parent:
        """What is known of the token that made a lease."""
        is_held = self._tokens.by_id(token_id) is not None
        tokens = self._tokens if is_held else self._giving_up.left
        return tokens.parent(token_id, self._clock.now())

    def forget(self, lease_id: str, *, lives_on: bool = False) -> None:
        """A lease is gone; the last one of an old token lets that go, too."""
        self._tokens.forget(lease_id, lives_on=lives_on)
        if len(self._tokens) > 1:
            self._wake.set()

    async def is_dead(self, token: Token, sent_at: float) -> bool:
        """After a 403: is it the token, or the path? Asked once for all who wonder.

        Raises `Outage` when there was no answer to tell by.
        """
        return await self._proof.is_dead(token, sent_at, lambda: token in self._tokens)

    # --- from one run to the next -------------------------------------------------------------

    def kept(self) -> tuple[list[KeptToken], str | None]:
        """The tokens that are not known to be gone, oldest first; the id of the one in use."""
        now = self._clock.now()
        kept = self._giving_up.left.kept(now) + self._tokens.kept(now)
        return kept, None if self.current is None else self.current.id

    def restore(self, kept: Sequence[KeptToken], current: str | None, *, is_ending: bool) -> None:
        """Go on with these before `run`; those that have ended are dead, and leases with them."""
        now = self._clock.now()
        tokens = [restored(each, self._client, is_outworn=is_ending) for each in kept]
        for token in tokens:
            if token.is_outworn:
                token.leases.add(UNKNOWN.id)
        self._tokens.extend(each for each in tokens if not each.has_ended(now))
        known = self._tokens.by_id(current)
        is_fit = known is not None and known.secret and not known.is_outworn
        self.current = known if is_fit else None
        self._login.is_wanted = self.current is None

    def adopt(self, lease_id: str, token_id: str | None) -> None:
        """A lease hangs on one of these, and is somebody's."""
        self._tokens.adopt(lease_id, token_id)

    # --- the loop -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Log in and keep logged in; never returns."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                if self._login.is_due:
                    await self._log_in()
                for token in [each for each in self._tokens if not each.is_proven]:
                    await self._prove(token)
                if self.current is None and self.refusal is not None:
                    self._fall_back()
                for token in list(self._tokens):
                    await self._tend(token, group)
                await self._clock.wait(self._wake, self._next_look())

    def _next_look(self) -> float | None:
        looks = [self._login.at] if self._login.is_wanted else []
        for token in self._tokens:
            if not token.is_proven:
                looks.append(token.retry_at)
            elif (planned := token.due(self._policy)) is not None:
                looks.append(planned.at)
            if token.ends_at is not None:
                looks.append(token.ends_at)
        return min(looks, default=None)

    async def _log_in(self) -> None:
        await self._opened()
        async with self._logging_in:
            if not self._login.is_wanted:
                return
            asked_at = self._clock.now()
            grant = await self._login.attempt()
            if grant is not None:
                await self._use(grant, asked_at)

    async def _use(self, grant: Grant, asked_at: float) -> None:
        """A grant becomes the current token; the one before lives on for its leases."""
        fresh = token_of(grant, self._client, asked_at=asked_at, now=self._clock.now())
        if self.current is not None and self.current.secret == grant.token:
            self._same_token_again(self.current, fresh)
            return
        self.current = fresh
        self._tokens.add(fresh)
        self._wake.set()
        await self._login.succeeded(grant)

    def _same_token_again(self, token: Token, fresh: Token) -> None:
        """The provider has not replaced the token: live with it, and look again later."""
        if fresh.term is None or token.term is None or fresh.term.ends_at > token.term.ends_at + 1:
            token.term, token.can_renew, token.retry_at = fresh.term, True, 0.0
            token.proven_at = fresh.proven_at
        else:
            token.retry_at = self._clock.now() + token.backoff.delay()

    # --- one token ----------------------------------------------------------------------------

    async def _prove(self, token: Token) -> None:
        """A token of an earlier run: nothing new is asked for with it before."""
        await self._opened()
        if token.retry_at > self._clock.now() or token not in self._tokens:
            return
        await self._proof.prove(token)
        if token.is_proven and token in self._tokens:
            if token is self.current:
                left = None if token.ends_at is None else token.ends_at - self._clock.now()
                self._emit(TokenResumed(store=self._store, ttl_seconds=left))
            self._changed()

    def _fall_back(self) -> None:
        """Nobody can log in, and an outworn token is better than none."""
        fit = [each for each in self._tokens if each.is_outworn and each.is_proven and each.secret]
        if fit:
            self.current = fit[-1]
            self._changed()

    async def _tend(self, token: Token, group: asyncio.TaskGroup) -> None:
        """Whatever one token needs now: nothing, a renewal, a successor, its end."""
        now = self._clock.now()
        if token not in self._tokens:
            return
        if token.has_ended(now):
            self._lost(token, "its time is over")
        elif token is not self.current and not token.leases and not token.in_use:
            self._tokens.remove(token)
            self._giving_up.begin(token, group)
        elif (
            token.is_proven
            and (planned := token.due(self._policy)) is not None
            and planned.at <= now
        ):
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
            self._login.is_wanted = True
            if self._login.is_due:
                await self._log_in()
            if token is self.current:
                token.retry_at = max(token.retry_at, self._login.at)
                return
        if self.current is None or self.current.is_outworn:  # that is no successor
            token.retry_at = max(token.retry_at, self._login.at)
            return
        if token not in self._tokens:
            return
        token.ending_since = self._clock.now()
        if token.leases:
            self._emit(self._ending(token))
        self._changed()
        self._wake.set()

    def _ending(self, token: Token) -> TokenEnding:
        leave_by = self.parent(token.id).leave_by
        left = None if leave_by is None else leave_by - self._clock.now()
        reason = OUTWORN if token.is_outworn else "the token nears its end and has a successor"
        leases = len(token.leases)
        return TokenEnding(store=self._store, leases=leases, ends_after=left, reason=reason)

    def _lost(self, token: Token, reason: str) -> None:
        if token not in self._tokens:  # given up while the server was asked
            return
        self._tokens.remove(token)
        self._emit(TokenLost(store=self._store, leases=len(token.leases), reason=reason))
        if token is self.current:
            self.current = None
            self._login.after(token)
        self._changed()
        self._wake.set()

    async def give_up_all(self) -> None:
        """The end: every token of ours is revoked, the current one last."""
        async with self._logging_in:  # a token that is on its way is not forgotten
            tokens = sorted(self._tokens, key=lambda each: each is self.current)
            self._tokens.clear()
            self.current, self._login.is_wanted = None, False
        await self._giving_up.finish(tokens)

    def tell_left(self, reason: str) -> None:
        """The end, and nobody to give our tokens back to."""
        now = self._clock.now()
        ours = [each for each in self._tokens if each.is_ours and not each.has_ended(now)]
        ends = [each.ends_at for each in ours if each.ends_at is not None]
        if ours:
            left = max(ends) - now if len(ends) == len(ours) else None
            self._emit(
                TokensNotRevoked(
                    store=self._store, tokens=len(ours), reason=reason, ends_after=left
                )
            )
