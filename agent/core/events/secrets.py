"""What watchers tell of one secret: readings, leases, staleness."""

from __future__ import annotations

from typing import ClassVar

from agent.core.events.base import DEBUG, ERROR, INFO, WARNING, Event, again, counted, duration


class SecretRead(Event, frozen=True, kw_only=True):
    secret: str
    version: str
    is_changed: bool
    ttl_seconds: float | None = None

    @property
    def level(self) -> int:  # type: ignore[override]  # a class's constant everywhere else
        """An unchanged value is no news: with many secrets there would be little else to read."""
        return INFO if self.is_changed else DEBUG

    def __str__(self) -> str:
        lease = "" if self.ttl_seconds is None else f", good for {duration(self.ttl_seconds)}"
        change = "new version" if self.is_changed else "unchanged, version"
        return f"{self.secret}: {change} {self.version}{lease}"


class LeaseRenewed(Event, frozen=True, kw_only=True):
    secret: str
    ttl_seconds: float

    def __str__(self) -> str:
        return f"{self.secret}: lease renewed for {duration(self.ttl_seconds)}"


class LeaseRevoked(Event, frozen=True, kw_only=True):
    secret: str

    def __str__(self) -> str:
        return f"{self.secret}: lease revoked"


class LeaseLost(Event, frozen=True, kw_only=True):
    """A lease that is gone before its time; a fresh read follows at once."""

    level: ClassVar[int] = WARNING
    secret: str
    reason: str

    def __str__(self) -> str:
        return f"{self.secret}: lease lost: {self.reason}; reading again"


class LeaseLeft(Event, frozen=True, kw_only=True):
    """An old lease that ends by itself; where a policy is the reason, `Advice` has said so."""

    secret: str
    reason: str

    def __str__(self) -> str:
        return f"{self.secret}: lease not revoked: {self.reason}"


class LeasesNotRevoked(Event, frozen=True, kw_only=True):
    """At the end of the run: the next one takes them up, if there is a cache."""

    level: ClassVar[int] = WARNING
    secret: str
    leases: int
    reason: str
    ends_after: float

    def __str__(self) -> str:
        leases, left = counted(self.leases, "lease"), duration(self.ends_after)
        return f"{self.secret}: {leases} not revoked: {self.reason}; over by itself within {left}"


class SecretRestored(Event, frozen=True, kw_only=True):
    """A value of the run before; `age_seconds` since the store last vouched for it."""

    level: ClassVar[int] = DEBUG
    secret: str
    version: str
    age_seconds: float

    def __str__(self) -> str:
        age = duration(self.age_seconds)
        return f"{self.secret}: version {self.version} from the sealed cache, proven {age} ago"


class SecretRefused(Event, frozen=True, kw_only=True):
    """An app did not work with a new value; `restored` is the version that is current again."""

    level: ClassVar[int] = ERROR
    secret: str
    version: str
    restored: str | None
    reason: str
    retry_after: float

    def __str__(self) -> str:
        outcome = (
            "there is none to go back to"
            if self.restored is None
            else f"version {self.restored} is put back"
        )
        return (
            f"{self.secret}: version {self.version} was refused: {self.reason}; {outcome}"
            f"; trying another in {duration(self.retry_after)}"
        )


class SecretStale(Event, frozen=True, kw_only=True):
    level: ClassVar[int] = WARNING
    secret: str
    reason: str
    kind: str
    retry_after: float | None = None

    def __str__(self) -> str:
        return f"{self.secret}: no fresh value: {self.reason}{again(self.retry_after)}"


class SecretExpired(Event, frozen=True, kw_only=True):
    level: ClassVar[int] = ERROR
    secret: str

    def __str__(self) -> str:
        return f"{self.secret}: the value held has expired and could not be replaced"
