"""What the audit tells of itself."""

from __future__ import annotations

from typing import ClassVar

from agent.core.events.base import ERROR, WARNING, Event, counted, duration


class AuditFailed(Event, frozen=True, kw_only=True):
    """Records can't be written any more; `is_closed`: nobody is answered until they can."""

    level: ClassVar[int] = ERROR
    place: str
    reason: str
    is_closed: bool

    def __str__(self) -> str:
        meanwhile = "nobody is answered" if self.is_closed else "answers go on, unrecorded"
        return f"audit: {self.place}: can't be written: {self.reason}; {meanwhile} until it can"


class AuditBack(Event, frozen=True, kw_only=True):
    """Records are written again; so many were not, or were refused an answer."""

    level: ClassVar[int] = WARNING
    lost: int
    refused: int
    down_seconds: float

    def __str__(self) -> str:
        lost, refused = counted(self.lost, "record"), counted(self.refused, "request")
        after = duration(self.down_seconds)
        return f"audit: is written again after {after}; {lost} lost, {refused} refused"


class AuditSuspect(Event, frozen=True, kw_only=True):
    """The file is not as it was left, or is not where it was."""

    level: ClassVar[int] = ERROR
    text: str

    def __str__(self) -> str:
        return f"audit: {self.text}"


class AuditCopyFailed(Event, frozen=True, kw_only=True):
    """A further place did not take its copies; the record itself is where it should be."""

    level: ClassVar[int] = WARNING
    place: str
    reason: str

    def __str__(self) -> str:
        return f"audit: {self.place}: no copies: {self.reason}"


class AuditCopyBack(Event, frozen=True, kw_only=True):
    place: str
    lost: int

    def __str__(self) -> str:
        return f"audit: {self.place}: has copies again; {counted(self.lost, 'record')} lost there"
