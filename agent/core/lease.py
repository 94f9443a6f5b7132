"""When a value is due: pure functions of a lease, a policy and `now`.

Vocabulary: a *term* is a promise with an end (a lease, a token). It is renewed while it can be; a
term that can't be, or whose renewal was granted less than the full duration (its maximum is
near), is replaced while it still lives, early enough for the app to be moved to the new one.

All instants are of `Clock.now()`, all durations seconds.
"""

from __future__ import annotations

from enum import Enum

import msgspec
from msgspec.structs import replace

FLOOR_SECONDS = 1.0
"""Nobody asks a store twice for one secret within this time, unless its term is shorter still."""

LEAST_FLOOR = 0.1
"""The floor under the floor: stores that promise less than twice this are asked no more often."""

JITTER = 0.1
"""A due time is drawn from the last tenth before its fraction: earlier, never later."""

CAPPED_BELOW = 0.98
"""A renewal granted less than this share of the full duration was cut by a maximum."""


CATCH_UP_SHARE = 0.6
"""What fell due during an outage is asked for within this share of its interval."""

LOOKS_APART = 3.0
"""Seconds by which agents notice the end of an outage apart, the shortest one's too."""


class Act(Enum):
    """What is to be done with a value when it is due."""

    RENEW = "renew"
    REPLACE = "replace"
    READ = "read"


class Due(msgspec.Struct, frozen=True):
    """`act` at the instant `at`."""

    at: float
    act: Act


class Term(msgspec.Struct, frozen=True):
    """A promise that holds from `began_at` for `lasts` seconds; `full` is the duration first given.

    `began_at` is taken before the request is sent, so that the end is never guessed too late.
    """

    began_at: float
    lasts: float
    is_renewable: bool
    full: float

    @property
    def ends_at(self) -> float:
        return self.began_at + self.lasts

    @property
    def is_capped(self) -> bool:
        """The last renewal hit the maximum: another one would give nothing."""
        return self.lasts < self.full * CAPPED_BELOW

    def renewed(self, began_at: float, lasts: float, is_renewable: bool) -> Term:
        """The same promise after a renewal."""
        return replace(self, began_at=began_at, lasts=lasts, is_renewable=is_renewable)


class Lease(msgspec.Struct, frozen=True):
    """A term of the store on one value. `parent` names what it dies with (Vault: the token)."""

    id: str
    term: Term
    parent: str | None = None


class Policy(msgspec.Struct, frozen=True):
    """How one secret is kept fresh.

    `draw` in [0, 1) is this secret's own lot, so that secrets read together come due apart.
    `headroom` is the longest that notify and confirm may take.
    """

    refresh_every: float = 300.0
    renew_at: float = 0.67
    headroom: float = 0.0
    draw: float = 0.0


def room(full: float, policy: Policy) -> float:
    """The time kept free before the end of a term for putting its successor in place.

    What `renew_at` leaves, or the headroom where that is more, if it is not over half of the term.
    """
    return max(full * (1 - policy.renew_at), min(policy.headroom, full / 2))


def due(term: Term, policy: Policy) -> Due:
    """When a term is to be renewed, or replaced where it can't be renewed (any more).

    >>> due(Term(began_at=0, lasts=100, is_renewable=True, full=100), Policy(renew_at=0.7))
    Due(at=70.0, act=<Act.RENEW: 'renew'>)
    """
    act = Act.RENEW if term.is_renewable and not term.is_capped else Act.REPLACE
    latest = term.ends_at - room(term.full, policy)
    jitter = JITTER * policy.draw * max(0.0, latest - term.began_at)
    return Due(max(term.began_at, latest - jitter), act)


def due_with_parent(term: Term, policy: Policy, ends_at: float, since: float) -> Due:
    """When a term whose parent has a successor is to be replaced.

    Spread evenly, by each secret's own lot, over what is left of the parent at `since`, the room
    before its end excepted; until then it is renewed, or replaced, as it would be anyway.
    """
    left = max(0.0, ends_at - since)
    replace_at = since + (left - room(left, policy)) * policy.draw
    own = due(term, policy)
    return own if own.at < replace_at else Due(replace_at, Act.REPLACE)


class Absence(msgspec.Struct, frozen=True):
    """The store could not be had from `began_at` to `ended_at`; `draw` in [0, 1) is a new lot."""

    began_at: float
    ended_at: float
    draw: float

    def followed_by(self, began_at: float, ended_at: float, draw: float) -> Absence:
        """Another one; where it began before the first was made up for, both are one."""
        made_up_at = self.ended_at + (self.ended_at - self.began_at)
        return Absence(self.began_at if began_at < made_up_at else began_at, ended_at, draw)


def made_up(planned: Due, absence: Absence, every: float, ends_at: float | None) -> Due:
    """`planned`, put off if it came to pass while the store was away.

    A fleet is behind with all that fell due since. It is made up for within the time that the
    store was away, or `CATCH_UP_SHARE` of the interval `every` where that is shorter, so that the
    store sees less than three times its usual load; and within a quarter of what is left of the
    value that ends at `ends_at`. Less `LOOKS_APART`: a short outage puts nothing off.

    >>> hour = Absence(began_at=1000, ended_at=4600, draw=0.5)
    >>> made_up(Due(1200, Act.READ), hour, every=300, ends_at=None).at
    4688.5
    """
    if planned.at > absence.ended_at:
        return planned
    within = min(absence.ended_at - absence.began_at, every * CATCH_UP_SHARE) - LOOKS_APART
    if ends_at is not None:
        within = min(within, (ends_at - absence.ended_at) / 4)
    return planned if within <= 0 else replace(planned, at=absence.ended_at + within * absence.draw)


def due_without_term(
    read_at: float,
    policy: Policy,
    *,
    read_again_after: float | None = None,
    expires_at: float | None = None,
) -> Due:
    """When a value without a lease is read again.

    `read_again_after` is the store's hint that a new value is there by then: `refresh_every` still
    holds until then. A value with an end of its own (`expires_at`, a certificate) is replaced by
    the rule for terms and not read in between.
    """
    if expires_at is not None:
        lasts = max(0.0, expires_at - read_at)
        return due(Term(began_at=read_at, lasts=lasts, is_renewable=False, full=lasts), policy)
    refresh_after = policy.refresh_every * (1 - JITTER * policy.draw)
    if read_again_after is not None:
        refresh_after = min(refresh_after, read_again_after)
    return Due(read_at + refresh_after, Act.READ)


def next_attempt(refused_at: float, pause: float, ends_at: float | None) -> float:
    """When another value is fetched after an app has refused one.

    After the pause, but after a quarter of what is left of the value that is used meanwhile at the
    latest (`ends_at`; None: it is kept alive), so that there is time for more than one attempt.
    """
    if ends_at is None:
        return refused_at + pause
    return refused_at + min(pause, max((ends_at - refused_at) / 4, FLOOR_SECONDS))


def not_before(due: Due, asked_at: float | None, lasts: float | None = None) -> Due:
    """`due`, put off until the floor has passed since the last time the store was asked.

    `lasts` is what the last answer promised: half of it at most is spent on waiting.
    """
    if asked_at is None:
        return due
    floor = FLOOR_SECONDS if lasts is None else min(FLOOR_SECONDS, max(lasts / 2, LEAST_FLOOR))
    return replace(due, at=max(due.at, asked_at + floor))
