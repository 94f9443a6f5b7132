"""What stores tell: requests, logins, tokens, outages."""

from __future__ import annotations

from typing import ClassVar

from agent.core.events.base import DEBUG, ERROR, WARNING, Event, again, counted, duration


class RequestDone(Event, frozen=True, kw_only=True):
    """A request to a store came to an end; `outcome` is `ok` or an error's `kind`."""

    level: ClassVar[int] = DEBUG
    store: str
    operation: str
    seconds: float
    outcome: str

    def __str__(self) -> str:
        return f"{self.store}: {self.operation} {self.outcome} in {duration(self.seconds)}"


class LoggedIn(Event, frozen=True, kw_only=True):
    store: str
    method: str
    ttl_seconds: float | None

    def __str__(self) -> str:
        ttl = (
            "never ends"
            if self.ttl_seconds is None
            else f"is good for {duration(self.ttl_seconds)}"
        )
        return f"{self.store}: logged in by {self.method}; the token {ttl}"


class LoginFailed(Event, frozen=True, kw_only=True):
    level: ClassVar[int] = ERROR
    store: str
    method: str
    reason: str
    retry_after: float | None = None

    def __str__(self) -> str:
        return (
            f"{self.store}: login by {self.method} failed: {self.reason}{again(self.retry_after)}"
        )


class TokenRenewed(Event, frozen=True, kw_only=True):
    store: str
    ttl_seconds: float

    def __str__(self) -> str:
        return f"{self.store}: token renewed for {duration(self.ttl_seconds)}"


class TokenEnding(Event, frozen=True, kw_only=True):
    """A token has a successor; its leases are replaced one by one before it is given up."""

    store: str
    leases: int
    ends_after: float | None
    reason: str

    def __str__(self) -> str:
        left = "" if self.ends_after is None else f" within {duration(self.ends_after)}"
        return (
            f"{self.store}: {self.reason}; {self.leases} leases of the old token are replaced{left}"
        )


class TokenLost(Event, frozen=True, kw_only=True):
    level: ClassVar[int] = WARNING
    store: str
    leases: int
    reason: str

    def __str__(self) -> str:
        leases = counted(self.leases, "lease")
        return f"{self.store}: the token is dead ({self.reason}), and {leases} with it"


class TokenRevoked(Event, frozen=True, kw_only=True):
    store: str

    def __str__(self) -> str:
        return f"{self.store}: token revoked"


class StoreDown(Event, frozen=True, kw_only=True):
    level: ClassVar[int] = WARNING
    store: str
    reason: str

    def __str__(self) -> str:
        return f"{self.store}: can't be had: {self.reason}; looking again until it can"


class StoreBack(Event, frozen=True, kw_only=True):
    store: str
    down_seconds: float

    def __str__(self) -> str:
        return f"{self.store}: is back after {duration(self.down_seconds)}"
