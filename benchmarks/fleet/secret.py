"""One secret of this agent, kept by the agent's own pure functions."""

from __future__ import annotations

from agent.core.backoff import Backoff
from agent.core.lease import (
    Absence,
    Act,
    Due,
    Policy,
    Term,
    due,
    due_without_term,
    made_up,
    not_before,
)
from agent.stores.vault.answers import STATIC_ROLE_LATE, STATIC_ROLE_MARGIN
from benchmarks.fleet.load import REFRESH_EVERY, Kind, Origin
from benchmarks.fleet.world import World

MAX_STALE = 86_400.0


class Secret:
    """`turn` tells the planned call that counts from older ones."""

    __slots__ = (
        "asked_at", "backoff", "every", "expires_at", "hint", "is_asking", "is_wanted", "kind",
        "policy", "read_at", "retry_at", "term", "turn", "world",
    )  # fmt: skip

    def __init__(self, world: World, kind: Kind, draw: float) -> None:
        self.world, self.kind = world, kind
        self.policy = Policy(refresh_every=REFRESH_EVERY, draw=draw)
        self.every = REFRESH_EVERY
        self.read_at: float | None = None
        self.asked_at: float | None = None
        self.term: Term | None = None
        self.hint: float | None = None
        self.expires_at: float | None = None
        self.backoff: Backoff | None = None
        self.retry_at = 0.0
        self.turn = 0
        self.is_wanted = self.is_asking = False

    def due(self) -> Due:
        """By the agent's own rules, but for what an absence of the store puts off."""
        now = self.world.now
        if self.read_at is None:
            return not_before(Due(now, Act.READ), self.asked_at)
        if self.term is not None:
            return not_before(due(self.term, self.policy), self.asked_at, self.term.lasts)
        planned = due_without_term(
            self.read_at, self.policy, read_again_after=self.hint, expires_at=self.expires_at
        )
        return not_before(planned, self.asked_at)

    def due_after(self, absence: Absence | None) -> Due:
        """As `watcher.holding.Outlook.due`."""
        planned = self.due()
        if absence is None or self.read_at is None:
            return planned
        if self.hint is not None and self.read_at + self.hint <= self.world.now:
            return planned
        ends = [self.read_at + MAX_STALE, self.expires_at]
        if self.term is not None:
            ends = [self.term.ends_at]
        ends_at = min(each for each in ends if each is not None)
        if ends_at <= self.world.now:
            return planned
        return made_up(planned, absence, self.every, ends_at)

    def arrived(self, asked_at: float, origin: Origin) -> None:
        """A good answer to a read or a renewal."""
        terms = origin.terms
        if self.kind is Kind.LEASE:
            self.every = terms.lease
            if self.term is None:
                self.term = Term(asked_at, terms.lease, is_renewable=True, full=terms.lease)
            else:
                self.term = self.term.renewed(asked_at, terms.lease, is_renewable=True)
        elif self.kind is Kind.CERTIFICATE:
            self.expires_at, self.every = asked_at + terms.certificate, terms.certificate
        elif self.kind is Kind.STATIC_ROLE:
            left = origin.left(asked_at)
            self.hint = left + STATIC_ROLE_MARGIN if left > 0 else STATIC_ROLE_LATE
        self.read_at, self.retry_at, self.backoff = asked_at, 0.0, None

    def settle(self, origin: Origin) -> None:
        """As it is after hours: held, and due at any time of its interval."""
        now, draw = self.world.now, self.world.draw
        self.arrived(now, origin)
        back = draw() * min(self.due().at - now, self.every)
        self.read_at = now - back
        if self.term is not None:
            self.term = Term(now - back, self.every, is_renewable=True, full=self.every)
        if self.expires_at is not None:
            self.expires_at -= back
        if self.hint is not None:
            self.hint += back

    def lose(self) -> None:
        """Its lease is gone, before its time."""
        self.term = self.read_at = self.asked_at = None
        self.turn += 1
