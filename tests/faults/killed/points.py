"""Where an agent is killed: phase by phase, event by event, rename by rename."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from tests.rig.killed import Point

BEFORE, AFTER = False, True
CACHE, HEAD, DATA, MARKER = "cache", "cache.head", "..data", "..announced"
STEPS = (
    "rendering",
    "comparing",
    "validating",
    "publishing",
    "notifying",
    "confirming",
    "settling",
    "waiting",
)
WAY_BACK = ("restoring", "notifying again", "confirming again", "settling")


class Phase(Enum):
    """What the agent is at."""

    FIRST_START = "first_start"
    ROTATION = "rotation"
    WAY_BACK = "way_back"
    END = "end"

    @property
    def begins_with(self) -> str | None:
        """The event; None: from the first on."""
        if self is Phase.FIRST_START:
            return None
        return "Stopping" if self is Phase.END else "RefreshAsked"


class Cell(NamedTuple):
    """One life. `leaves_token`: a login was answered, and nothing of it is on disk yet."""

    name: str
    phase: Phase
    point: str
    leaves_token: bool = False

    def __str__(self) -> str:
        return f"{self.phase.value}-{self.name}"


def _cell(phase: Phase, name: str, *, leaves_token: bool = False, **point: Any) -> Cell:
    place = Point(**point, since=phase.begins_with)
    when = "after" if place.is_after else "before"
    nth = f"-{place.nth}" if place.nth > 1 else ""
    text = msgspec.json.encode(place).decode()
    return Cell(f"{when}-{name}{nth}", phase, text, leaves_token)


def _event(phase: Phase, event: str, is_after: bool, nth: int = 1, **fields: Any) -> Cell:
    name = "-".join([event, *map(str, fields.values())])
    return _cell(phase, name, event=event, is_after=is_after, nth=nth, fields=fields)


def _rename(phase: Phase, target: str, is_after: bool, nth: int = 1, **more: Any) -> Cell:
    return _cell(phase, target.strip("."), rename=target, is_after=is_after, nth=nth, **more)


def _first_start() -> Iterator[Cell]:
    phase = Phase.FIRST_START
    yield _cell(phase, "LoggedIn", leaves_token=True, event="LoggedIn")
    yield _rename(phase, CACHE, BEFORE, leaves_token=True)
    yield from _writes(phase)


def _rotation() -> Iterator[Cell]:
    phase = Phase.ROTATION
    yield _rename(phase, CACHE, BEFORE)
    yield _event(phase, "LeaseRevoked", BEFORE)
    yield _event(phase, "LeaseRevoked", AFTER)
    yield from _writes(phase)


def _writes(phase: Phase) -> Iterator[Cell]:
    """A whole transaction, and the writing beside it."""
    for state in STEPS:
        yield _event(phase, "BundleMoved", BEFORE, state=state)
    yield _cell(phase, "answer", event="RequestDone", fields={"operation": "read", "outcome": "ok"})
    yield _event(phase, "SecretRead", AFTER, secret="db")
    yield _event(phase, "BundlePublished", BEFORE)
    yield _event(phase, "BundleNotified", AFTER)
    yield _event(phase, "BundleConfirmed", BEFORE)
    yield _event(phase, "BundleConfirmed", AFTER)
    yield _event(phase, "CacheWritten", AFTER)
    yield _rename(phase, CACHE, AFTER)
    yield _rename(phase, HEAD, BEFORE, nth=2)
    yield _rename(phase, HEAD, AFTER, nth=2)
    yield _rename(phase, CACHE, BEFORE, nth=2)
    yield _rename(phase, DATA, BEFORE)
    yield _rename(phase, DATA, AFTER)
    yield _rename(phase, MARKER, BEFORE)
    yield _rename(phase, MARKER, AFTER)


def _way_back() -> Iterator[Cell]:
    phase = Phase.WAY_BACK
    for nth, _step in enumerate(WAY_BACK, 1):
        yield _event(phase, "BundleMoved", BEFORE, nth=nth, state="rolling_back")
    yield _event(phase, "BundleRolledBack", AFTER)
    yield _event(phase, "BundleRestored", BEFORE)
    yield _event(phase, "SecretRefused", AFTER)
    yield _event(phase, "LeaseRevoked", BEFORE)
    yield _event(phase, "LeaseRevoked", AFTER)
    yield _rename(phase, DATA, BEFORE, nth=2)
    yield _rename(phase, DATA, AFTER, nth=2)
    yield _rename(phase, MARKER, BEFORE)
    yield _rename(phase, MARKER, BEFORE, nth=2)
    yield _rename(phase, MARKER, AFTER, nth=2)


def _end() -> Iterator[Cell]:
    phase = Phase.END
    yield _event(phase, "Stopping", AFTER)
    for event in ("LeaseRevoked", "TokenRevoked"):
        yield _event(phase, event, BEFORE)
        yield _event(phase, event, AFTER)
    yield _rename(phase, CACHE, BEFORE)
    yield _rename(phase, CACHE, AFTER)
    yield _rename(phase, HEAD, AFTER)


CELLS = [*_first_start(), *_rotation(), *_way_back(), *_end()]
