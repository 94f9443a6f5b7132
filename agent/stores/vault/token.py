"""The tokens that the agent holds: what each is good for, and what hangs on it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from agent.core.backoff import Backoff
from agent.core.lease import Act, Due, Policy, Term, due
from agent.stores.base import Parent
from agent.stores.vault.auth import Grant
from agent.stores.vault.client import VaultClient


@dataclass(slots=True, eq=False)
class Token:
    """One token. `term` None: it never ends. Instants of `Clock.now()`.

    `leases` are the ids of those that hang on it and are somebody's. `is_left` is set once one of
    them is to live on: then the token is not revoked. `proven_at` is when it was last known alive.
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
        if self.term is None or self.ending_since is not None:
            return None
        planned = due(self.term, policy)
        act = planned.act if self.can_renew else Act.REPLACE
        return Due(max(planned.at, self.retry_at), act)

    def renewed(self, asked_at: float, lasts: float, is_renewable: bool) -> None:
        """It was granted more time; less than asked for means that its maximum is near."""
        self.term = Term(asked_at, lasts, is_renewable, max(self.increment, lasts))
        self.proven_at, self.retry_at = asked_at, 0.0
        self.backoff.reset()


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
        backoff=Backoff(first=min(1.0, lasts / 20), ceiling=min(300.0, lasts / 20)),
    )


class Tokens(list[Token]):
    """Those that are held, oldest first."""

    def by_id(self, token_id: str | None) -> Token | None:
        return next((each for each in self if each.id == token_id), None)

    def parent(self, token_id: str | None, now: float) -> Parent:
        """What is known of the token that made a lease; one that is not held any more is dead."""
        token = self.by_id(token_id)
        if token is None or token.has_ended(now):
            return Parent(is_alive=token_id is None)
        return Parent(True, token.ends_at, token.ending_since)

    def forget(self, lease_id: str, *, lives_on: bool) -> None:
        """A lease is nobody's any more."""
        for token in self:
            if lease_id in token.leases:
                token.leases.discard(lease_id)
                token.is_left = token.is_left or lives_on
