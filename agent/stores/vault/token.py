"""The tokens that the agent holds: what each is good for, and what hangs on it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from math import inf

from msgspec.structs import replace

from agent.core.backoff import Backoff
from agent.core.book import KeptToken
from agent.core.lease import Act, Due, Policy, Term, due
from agent.stores.base import Parent
from agent.stores.vault.auth import Grant
from agent.stores.vault.client import VaultClient

LONGEST_PAUSE = 300.0

OUTWORN_FOR = 600.0
"""Seconds over which the leases of an outworn token are replaced, if it has that long to live."""


@dataclass(slots=True, eq=False)
class Token:
    """One token. `term` None: it never ends. Instants of `Clock.now()`.

    `leases` are the ids of those that hang on it and are somebody's. `is_left` is set once one of
    them is to live on: then the token is not revoked. `proven_at` is when it was last known alive.
    `is_proven`: the server has vouched for it in this run. `is_outworn`: it is to get a successor
    at once, whatever time it has left. Without a `secret` it is only known of.
    """

    id: str
    client: VaultClient = field(repr=False)
    secret: str = field(repr=False)
    term: Term | None
    increment: float
    is_ours: bool
    had_at: float
    proven_at: float
    backoff: Backoff
    leases: set[str] = field(default_factory=set)
    in_use: int = 0
    is_left: bool = False
    ending_since: float | None = None
    can_renew: bool = True
    has_served: bool = False
    is_proven: bool = True
    is_outworn: bool = False
    retry_at: float = 0.0
    proof: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def ends_at(self) -> float | None:
        return None if self.term is None else self.term.ends_at

    def has_ended(self, now: float) -> bool:
        """Its time is over."""
        return self.term is not None and self.term.ends_at <= now

    def due(self, policy: Policy) -> Due | None:
        """When it is to be renewed, or to get a successor; None if never, or if it has one."""
        if self.ending_since is not None:
            return None
        if self.is_outworn:
            return Due(self.retry_at, Act.REPLACE)
        if self.term is None:
            return None
        planned = due(self.term, policy)
        act = planned.act if self.can_renew else Act.REPLACE
        return Due(max(planned.at, self.retry_at), act)

    def renewed(self, asked_at: float, lasts: float, is_renewable: bool) -> None:
        """It was granted more time; less than asked for means that its maximum is near."""
        self.term = Term(asked_at, lasts, is_renewable, max(self.increment, lasts))
        self.proven_at, self.retry_at, self.is_proven = asked_at, 0.0, True
        self.backoff.reset()

    def looked_up(self, asked_at: float, left: float, is_renewable: bool) -> None:
        """The server says that it has `left` seconds; 0: it never ends."""
        self.proven_at, self.retry_at, self.is_proven = asked_at, 0.0, True
        self.backoff.reset()
        if left <= 0:
            self.term = None
        elif self.term is None:
            self.term = Term(asked_at, left, is_renewable, left)
        else:
            began_at = asked_at + left - self.term.lasts
            self.term = replace(self.term, began_at=began_at, is_renewable=is_renewable)

    def kept(self) -> KeptToken:
        """For the next run. One that is not ours is not written down: who provides it has it."""
        secret = self.secret if self.is_ours else ""
        return KeptToken(
            self.id,
            secret,
            self.term,
            self.increment,
            self.is_ours,
            self.had_at,
            is_left=self.is_left,
            is_outworn=self.is_outworn,
        )


def token_of(grant: Grant, client: VaultClient, *, asked_at: float, now: float) -> Token:
    """A token fresh from a login."""
    term = None
    if grant.ttl is not None:
        term = Term(asked_at, grant.ttl, grant.is_renewable, grant.ttl)
    lasts = grant.ttl or 0.0
    return Token(
        id=grant.id,
        client=client.with_token(grant.token),
        secret=grant.token,
        term=term,
        increment=grant.increment or lasts,
        is_ours=grant.is_ours,
        had_at=asked_at,
        proven_at=now,
        backoff=_backoff(lasts),
    )


def restored(kept: KeptToken, client: VaultClient, *, is_outworn: bool) -> Token:
    """A token of an earlier run: good for nothing new until the server has vouched for it."""
    return Token(
        id=kept.id,
        client=client.with_token(kept.secret),
        secret=kept.secret,
        term=kept.term,
        increment=kept.increment,
        is_ours=kept.is_ours,
        had_at=kept.had_at,
        proven_at=-inf,
        backoff=_backoff(kept.increment),
        is_left=kept.is_left,
        can_renew=bool(kept.secret),
        is_proven=not kept.secret,
        is_outworn=is_outworn or kept.is_outworn,
    )


def _backoff(lasts: float) -> Backoff:
    share = lasts / 20 if lasts > 0 else LONGEST_PAUSE
    return Backoff(first=min(1.0, share), ceiling=min(LONGEST_PAUSE, share))


class Tokens(list[Token]):
    """Those that are held, oldest first."""

    def by_id(self, token_id: str | None) -> Token | None:
        return next((each for each in self if each.id == token_id), None)

    def add(self, fresh: Token) -> None:
        """One more. A provided token that an earlier run had, too, takes its leases over."""
        known = self.by_id(fresh.id)
        if known is not None:
            fresh.leases |= known.leases
            self.remove(known)
        self.append(fresh)

    def adopt(self, lease_id: str, token_id: str | None) -> None:
        """A lease is somebody's, and hangs on this token, if that is held."""
        token = self.by_id(token_id)
        if token is not None:
            token.leases.add(lease_id)

    def kept(self, now: float) -> list[KeptToken]:
        """Those that have not ended, for the next run."""
        return [each.kept() for each in self if not each.has_ended(now)]

    def parent(self, token_id: str | None, now: float) -> Parent:
        """What is known of the token that made a lease; one that is not held any more is dead."""
        token = self.by_id(token_id)
        if token is None or token.has_ended(now):
            return Parent(is_alive=token_id is None)
        haste = OUTWORN_FOR if token.is_outworn else None
        return Parent(True, token.ends_at, token.ending_since, haste)

    def forget(self, lease_id: str, *, lives_on: bool) -> None:
        """A lease is nobody's any more."""
        for token in self:
            if lease_id in token.leases:
                token.leases.discard(lease_id)
                token.is_left = token.is_left or lives_on
