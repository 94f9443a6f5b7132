"""One value in the agent's hands: when it is due, and how long it is good."""

from __future__ import annotations

from random import random

import msgspec
from msgspec.structs import replace

from agent.core.clock import Clock
from agent.core.errors import Outage
from agent.core.lease import (
    Absence,
    Act,
    Due,
    Lease,
    Policy,
    due,
    due_with_parent,
    due_without_term,
    made_up,
    not_before,
)
from agent.core.secret import Reading
from agent.stores.base import Store


class Holding(msgspec.Struct, eq=False):
    """A value that is current, or was.

    `proven_at` is when the store last vouched for it, `denied_since` when it first denied it since.
    `is_lost`: its lease is gone before its time. `is_cached`: from the run before, and not proven
    in this one. `retry_at` and `is_refused` (not to be put back) are for former values only.
    """

    revision: int
    reading: Reading
    read_at: float
    proven_at: float
    is_lost: bool = False
    can_renew: bool = True
    retry_at: float = 0.0
    denied_since: float | None = None
    is_cached: bool = False
    is_refused: bool = False


class Outlook:
    """Looks at holdings with one store's, one policy's and the clock's eyes.

    `is_written`: to ask for the value is a write, which makes a new one. `max_stale`: how long it
    may be used without fresh proof.
    """

    __slots__ = ("_absence", "_away_since", "_clock", "_store", "is_written", "max_stale", "policy")

    def __init__(self, store: Store, clock: Clock, policy: Policy) -> None:
        self._store, self._clock, self.policy = store, clock, policy
        self.is_written, self.max_stale = False, float("inf")
        self._away_since: float | None = None
        self._absence: Absence | None = None

    def look_again(self) -> None:
        """The store may have gone, or may have come back."""
        now, is_away = self._clock.now(), isinstance(self._store.trouble, Outage)
        if is_away and self._away_since is None:
            self._away_since = now
        elif not is_away and self._away_since is not None:
            began_at, before, draw = self._away_since, self._absence, random()  # noqa: S311
            made = before.followed_by if before else Absence
            self._absence, self._away_since = made(began_at, now, draw), None

    def arrived(self, reading: Reading, asked_at: float) -> Holding:
        """A value fresh from the store.

        A certificate that is over at its arrival tells that our clock and the store's differ: it is
        no worse than any other that could be had, and is treated as one without an end.
        """
        if reading.not_after is not None and reading.not_after <= self._clock.wall():
            reading = replace(reading, not_after=None)
        return Holding(0, reading, read_at=asked_at, proven_at=asked_at)

    def is_dead(self, lease: Lease) -> bool:
        """Its end has come, or what it hangs on is gone."""
        return not self._store.parent(lease).is_alive or self.ends_at(lease) <= self._clock.now()

    def ends_at(self, lease: Lease) -> float:
        """Its end, or that of what it hangs on."""
        parent = self._store.parent(lease)
        ends_at = lease.term.ends_at
        return ends_at if parent.ends_at is None else min(ends_at, parent.ends_at)

    def is_cut_short(self, holding: Holding) -> bool:
        """What it was good for ended before its time."""
        lease = holding.reading.lease
        if lease is None:
            return False
        return holding.is_lost or not self._store.parent(lease).is_alive

    def expires_at(self, holding: Holding) -> float | None:
        """When the value is worth nothing, as far as is known."""
        reading = holding.reading
        if reading.lease is None:
            return self._certificate_end(reading)
        if self.is_cut_short(holding):
            return min(self._clock.now(), reading.lease.term.ends_at)
        return self.ends_at(reading.lease)

    def is_over(self, holding: Holding) -> bool:
        """It works no more, as far as is known."""
        ends_at = self.expires_at(holding)
        return ends_at is not None and ends_at <= self._clock.now()

    def has_own_end(self, holding: Holding) -> bool:
        """The value itself says how long it is good: by a lease, or as a certificate."""
        return holding.reading.lease is not None or holding.reading.not_after is not None

    def proof(self, holding: Holding) -> Act | None:
        """How a value of the run before is proven without making a new one.

        None: nothing need be asked. What its lease hangs on lives, or it vouches for itself.
        """
        lease = holding.reading.lease
        if lease is not None:
            return Act.RENEW if lease.term.is_renewable and holding.can_renew else None
        return None if self.is_written or self.has_own_end(holding) else Act.READ

    def may_mint(self, holding: Holding | None) -> bool:
        """Whether a read may make a lease: nothing tells that it does not."""
        return self.is_written or holding is None or holding.reading.lease is not None

    def due(self, holding: Holding, asked_at: float | None) -> Due:
        """What is to be done next with the current value."""
        reading = holding.reading
        is_unproven = holding.is_cached and not self.is_over(holding)
        if is_unproven and (proof := self.proof(holding)) is not None:
            return not_before(Due(self._clock.now(), proof), asked_at)
        if reading.lease is not None:
            planned = self._due_lease(reading.lease, holding)
            planned = self._made_up(planned, holding, reading.lease.term.full)
            return not_before(planned, asked_at, reading.lease.term.lasts)
        planned = due_without_term(
            holding.read_at,
            self.policy,
            read_again_after=reading.read_again_after,
            expires_at=self._certificate_end(reading),
        )
        if not self._is_replaced(holding):
            planned = self._made_up(planned, holding, self.policy.refresh_every)
        return not_before(planned, asked_at)

    def renewal_of_former(self, holding: Holding, lease: Lease) -> float | None:
        """When a replaced value's lease is renewed to keep it alive; None if it can't be."""
        planned = due(lease.term, self.policy)
        if planned.act is not Act.RENEW or not holding.can_renew:
            return None
        planned = not_before(planned, lease.term.began_at, lease.term.lasts)
        return max(planned.at, holding.retry_at)

    def _made_up(self, planned: Due, holding: Holding, every: float) -> Due:
        """Not at once, where it fell due while the store was away; what is over can't wait."""
        if self._absence is None or self.is_over(holding):
            return planned
        ends = [holding.proven_at + self.max_stale, self.expires_at(holding)]
        ends_at = min(each for each in ends if each is not None)
        return made_up(planned, self._absence, every, ends_at)

    def _is_replaced(self, holding: Holding) -> bool:
        """The store has said that there is another value by now."""
        after = holding.reading.read_again_after
        return after is not None and holding.read_at + after <= self._clock.now()

    def _due_lease(self, lease: Lease, holding: Holding) -> Due:
        now, parent = self._clock.now(), self._store.parent(lease)
        if holding.is_lost or self.is_dead(lease):
            return Due(now, Act.REPLACE)
        if parent.ending_since is not None and parent.leave_by is not None:
            planned = due_with_parent(lease.term, self.policy, parent.leave_by, parent.ending_since)
        else:
            planned = due(lease.term, self.policy)
        return planned if holding.can_renew else replace(planned, act=Act.REPLACE)

    def _certificate_end(self, reading: Reading) -> float | None:
        """A certificate's end on our clock, reckoned anew each time: wall clocks are set."""
        if reading.not_after is None:
            return None
        return self._clock.now() + reading.not_after - self._clock.wall()
