"""What stores tell: requests, logins, tokens, outages."""

from __future__ import annotations

from typing import ClassVar

from agent.core.events.base import DEBUG, ERROR, WARNING, Event, again, counted, duration


class RequestDone(Event, frozen=True, kw_only=True):
    """A request to a store came to an end; `outcome`: `ok`, `cancelled`, an error's `kind`."""

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


class TokenResumed(Event, frozen=True, kw_only=True):
    """The token of an earlier run lives, and goes on being used: no login."""

    store: str
    ttl_seconds: float | None

    def __str__(self) -> str:
        left = "" if self.ttl_seconds is None else f", good for {duration(self.ttl_seconds)}"
        return f"{self.store}: goes on with the token of the run before{left}"


class TokenEnding(Event, frozen=True, kw_only=True):
    """A token has a successor; its leases are replaced one by one before it is given up."""

    store: str
    leases: int
    ends_after: float | None
    reason: str

    def __str__(self) -> str:
        left = "" if self.ends_after is None else f" within {duration(self.ends_after)}"
        return (
            f"{self.store}: {self.reason}; {counted(self.leases, 'lease')} of the old token to be "
            f"replaced{left}"
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


class TokensNotRevoked(Event, frozen=True, kw_only=True):
    """At the end of the run: the next one takes them up, if there is a cache."""

    level: ClassVar[int] = WARNING
    store: str
    tokens: int
    reason: str
    ends_after: float | None

    def __str__(self) -> str:
        left = "never over by itself"
        if self.ends_after is not None:
            left = f"over by itself within {duration(self.ends_after)}"
        return f"{self.store}: {counted(self.tokens, 'token')} not revoked: {self.reason}; {left}"


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


class LeasesLeftBehind(Event, frozen=True, kw_only=True):
    """Of an earlier run, at a store that is configured otherwise now, or no longer."""

    level: ClassVar[int] = WARNING
    store: str
    leases: int
    ends_after: float

    def __str__(self) -> str:
        leases, left = counted(self.leases, "lease"), duration(self.ends_after)
        return (
            f"{self.store}: {leases} of the run before can't be given back, as the store or the "
            f"identity there is another one now; over by itself within {left}"
        )
