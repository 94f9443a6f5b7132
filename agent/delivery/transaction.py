"""One bundle's transaction as a state machine: what is to be done next, and how it went.

    waiting ─▶ rendering ─▶ comparing ─▶ validating ─▶ publishing ─▶ notifying ─▶ confirming
       ▲            │            │            │             │             │        │      │
       ├────────────┴────────────┴────────────┴─────────────┴─────────────┘        │      │
       ├─ settling ◀───────────────────────────────────────────────────────────────┘      │
       └─ settling ◀─ confirming again ◀─ notifying again ◀─ restoring ◀──(not in time)───┘

It is pure: who drives it does the step, says how it went, and is told the next one. Instants are of
`Clock.now()`; every failure ends in `waiting` until an instant that its driver has drawn. What
failed is not tried again before, unless it has become something else.

Until the app has proven a generation, all that it may be using is held. What it went back from is
refused only once it has proven the former generation again: an app that can't do that either says
nothing about the new values.
"""

from __future__ import annotations

from enum import Enum
from typing import Self

import msgspec
from msgspec.structs import replace

from agent.delivery.revisions import Held, Revisions, ones, union

SHORTEST_PAUSE = 1.0
"""Seconds; before the end of what is proven, attempts come closer together, down to this."""


class Step(Enum):
    """What is to be done next."""

    WAITING = "waiting"
    RENDERING = "rendering"
    COMPARING = "comparing"
    VALIDATING = "validating"
    PUBLISHING = "publishing"
    NOTIFYING = "notifying"
    CONFIRMING = "confirming"
    SETTLING = "settling"
    RESTORING = "restoring"
    NOTIFYING_AGAIN = "notifying again"
    CONFIRMING_AGAIN = "confirming again"


class Shown(msgspec.Struct, frozen=True):
    """How the directory stands: the generation that is seen, and the one that was last announced.

    `has_absent`: somebody who was not there at the announcement is to be looked for.
    """

    current: int | None
    announced: int | None
    has_absent: bool = False

    @property
    def is_known(self) -> bool:
        """There is nobody to be told of anything."""
        return self.current is None or (self.current == self.announced and not self.has_absent)


class Fallback(msgspec.Struct, frozen=True):
    """What could be put back: a generation, while what it is made of lives.

    `ends_at`: when the first of that ends; None: never, or nobody knows.
    """

    generation: int | None = None
    is_alive: bool = False
    ends_at: float | None = None

    def holds(self, now: float) -> bool:
        """It is better than nothing."""
        is_over = self.ends_at is not None and self.ends_at <= now
        return self.generation is not None and self.is_alive and not is_over


NO_FALLBACK = Fallback()


class Transaction(msgspec.Struct, frozen=True):
    """Where a bundle is.

    `proven`: what its app is known to work with. `wanted`: what the generation under way, or else
    the one that is seen, is made of; `leased`: secrets of it whose values can be taken away.
    `exposed`: what else the app may be using, since it last proved anything. `trouble`: the step
    that failed, until all is well; `attempt` tells what was tried, and `is_refused` that it is not
    to be tried again before `retry_at`. `refused`: what the app went back from. `undoes`: the
    generation that is being put back.
    """

    step: Step = Step.WAITING
    proven: Revisions = {}
    wanted: Revisions = {}
    leased: frozenset[str] = frozenset()
    exposed: Held = {}
    attempt: int = 0
    is_refused: bool = False
    refused: Revisions = {}
    undoes: int | None = None
    retry_at: float | None = None
    trouble: Step | None = None
    is_drill: bool = False

    # --- what follows from it -----------------------------------------------------------------

    @property
    def state(self) -> str:
        """What /status says."""
        if self.undoes is not None and self.step is not Step.WAITING:
            return "rolling_back"
        return self.step.value

    @property
    def held(self) -> Held:
        """What must go on living."""
        return union(self.exposed, ones(self.proven), ones(self.wanted))

    @property
    def waits_for_another(self) -> bool:
        """The app works with what it went back to, and nothing newer is there yet."""
        return bool(self.refused) and self.wanted == self.proven

    def succeeded(self, former: Self) -> Self:
        """A fresh start after `former`, which may have been stopped anywhere."""
        return replace(self, proven=former.proven, exposed=former.held)

    # --- a start ------------------------------------------------------------------------------

    def begin(
        self,
        wanted: Revisions,
        leased: frozenset[str],
        now: float,
        fallback: Fallback = NO_FALLBACK,
        room: float = 0.0,
    ) -> Self:
        """The secrets are as `wanted` now. After a restart they may be what the app has already.

        A way back that was interrupted is gone on with, while there is time for it: `room` seconds
        are what an attempt may take.
        """
        if self.undoes is not None and wanted == self.wanted and fallback.holds(now + room):
            if self.retry_at is not None and now < self.retry_at:
                return self
            return replace(self, step=Step.RESTORING)
        begun = replace(self, step=Step.RENDERING, wanted=wanted, leased=leased, undoes=None)
        return begun if self.wanted else begun._exposed()

    def rehearse(self) -> Self:
        """The same values once more, as a generation of their own; for one that is settled."""
        return replace(self, step=Step.VALIDATING, attempt=0, is_drill=True)

    # --- how a step went ----------------------------------------------------------------------

    def rendered(self, attempt: int, now: float) -> Self:
        """`attempt` tells what is to be tried from every other thing."""
        is_too_early = self.retry_at is not None and now < self.retry_at
        if self.is_refused and attempt == self.attempt and is_too_early:
            wanted = self.proven if self.refused else self.wanted
            return replace(self, step=Step.WAITING, wanted=wanted)
        return replace(self, step=Step.COMPARING, attempt=attempt, is_refused=False, retry_at=None)

    def compared(self, *, is_changed: bool, shown: Shown) -> Self:
        """`is_changed`: what was rendered is not what is seen."""
        if is_changed:
            return replace(self, step=Step.VALIDATING)
        return self._rested() if shown.is_known else replace(self._exposed(), step=Step.NOTIFYING)

    def validated(self) -> Self:
        return replace(self, step=Step.PUBLISHING)

    def published(self, *, is_known: bool) -> Self:
        """`is_known`: the app need not be told."""
        return self._rested() if is_known else replace(self._exposed(), step=Step.NOTIFYING)

    def notified(self, *, asks: bool) -> Self:
        """`asks`: the app is there, and is to prove that it uses the generation."""
        if not asks:
            return replace(self, step=Step.SETTLING)
        is_back = self.step is Step.NOTIFYING_AGAIN
        return replace(self, step=Step.CONFIRMING_AGAIN if is_back else Step.CONFIRMING)

    def confirmed(self) -> Self:
        return replace(self, step=Step.SETTLING)

    def restored(self) -> Self:
        """The former generation is seen again."""
        return replace(self, step=Step.NOTIFYING_AGAIN)

    def settled(self, now: float, pause: float, fallback: Fallback = NO_FALLBACK) -> Self:
        """What is seen is on record as what the app uses, and the rest is let go.

        Of a former generation: what the app went back from is refused, and tried again after
        `pause` seconds if nothing else is had before.
        """
        if self.undoes is None:
            return self._rested()
        back = replace(
            self, step=Step.WAITING, undoes=None, exposed={}, wanted=self.proven, is_drill=False
        )
        if self.is_drill:
            return replace(back, trouble=None, retry_at=None)
        differing = {n: each for n, each in self.wanted.items() if self.proven.get(n) != each}
        return replace(
            back,
            refused=differing,
            is_refused=True,
            trouble=Step.CONFIRMING,
            retry_at=retry_at(now, pause, fallback),
        )

    def failed(self, now: float, pause: float, fallback: Fallback = NO_FALLBACK) -> Self:
        """The step failed, or what comes before the first; `pause` is until the next attempt."""
        if self.step is Step.CONFIRMING and fallback.holds(now):
            return replace(
                self, step=Step.RESTORING, undoes=fallback.generation, trouble=Step.CONFIRMING
            )
        rested = replace(self, step=Step.WAITING, is_drill=False)
        if self.is_drill and self.step in (Step.VALIDATING, Step.PUBLISHING):
            return rested
        is_no = self.step in (Step.VALIDATING, Step.CONFIRMING)
        return replace(
            rested,
            trouble=Step.RENDERING if self.step is Step.WAITING else self.step,
            is_refused=is_no or self.is_refused,
            refused={} if is_no else self.refused,
            retry_at=retry_at(now, pause, fallback),
        )

    def _exposed(self) -> Self:
        """The app may be using what is wanted; with what has no lease it can go on in any case."""
        seen = {name: each for name, each in self.wanted.items() if name in self.leased}
        return replace(self, exposed=union(self.exposed, ones(seen)))

    def _rested(self) -> Self:
        """The app uses what is wanted, or will read it when it starts."""
        rested = replace(
            self, step=Step.WAITING, proven=self.wanted, exposed={}, retry_at=None, is_drill=False
        )
        if self.waits_for_another:
            return replace(rested, trouble=Step.CONFIRMING)
        return replace(rested, trouble=None, refused={}, is_refused=False)


def retry_at(now: float, pause: float, fallback: Fallback) -> float:
    """The next attempt's instant: after the pause, or half-way to the end of what is proven."""
    if fallback.ends_at is None or fallback.ends_at <= now:
        return now + pause
    return now + min(pause, max(SHORTEST_PAUSE, (fallback.ends_at - now) / 2))
