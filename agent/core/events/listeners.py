"""What the local doors tell of themselves."""

from __future__ import annotations

from typing import ClassVar

from agent.core.events.base import WARNING, Event, counted


class ListenerOpened(Event, frozen=True, kw_only=True):
    listener: str
    protocol: str

    def __str__(self) -> str:
        return f"{self.listener}: listening ({self.protocol})"


class ListenerClosed(Event, frozen=True, kw_only=True):
    listener: str

    def __str__(self) -> str:
        return f"{self.listener}: closed"


class CredentialRefused(Event, frozen=True, kw_only=True):
    """A unit does not start, for want of this one. `credential` is as the peer named it."""

    level: ClassVar[int] = WARNING
    listener: str
    unit: str
    credential: str
    reason: str

    def __str__(self) -> str:
        return f"{self.listener}: {self.unit} does not get {self.credential}: {self.reason}"


class ConnectionRefused(Event, frozen=True, kw_only=True):
    """For want of room. `number`: since it was last told of this user; `uid` None: on TCP."""

    level: ClassVar[int] = WARNING
    listener: str
    uid: int | None
    limit: str
    number: int

    def __str__(self) -> str:
        whose = "" if self.uid is None else f" of user {self.uid}"
        refused = counted(self.number, "connection")
        return f"{self.listener}: refused {refused}{whose}: limits.{self.limit} is reached"
