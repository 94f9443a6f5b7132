"""What all events have in common, and the words that their sentences share."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import msgspec

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened."""

    level: ClassVar[int] = INFO


Emit = Callable[[Event], None]


def nobody(event: Event) -> None:
    """An `Emit` for when nobody listens."""


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`, `9 d`: for sentences."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h" if seconds < 172800 else f"{seconds / 86400:.3g} d"


def counted(number: int, noun: str) -> str:
    """`1 lease`, `3 leases`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def again(retry_after: float | None) -> str:
    """`; retrying in 3 s`, or nothing."""
    return "" if retry_after is None else f"; retrying in {duration(retry_after)}"
