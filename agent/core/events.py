"""What happens, as values. Whoever does something emits; logs, metrics and audit listen.

An event carries names, versions and durations, never a value of a secret. `str(event)` is the
sentence for people; its fields are the structured form. `level` is a level of `logging`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import msgspec

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The base; subclasses are listed below by who emits them."""

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


def _again(retry_after: float | None) -> str:
    return "" if retry_after is None else f"; retrying in {duration(retry_after)}"


# --- stores -----------------------------------------------------------------------------------


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
            f"{self.store}: login by {self.method} failed: {self.reason}{_again(self.retry_after)}"
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


class Advice(Event, frozen=True, kw_only=True):
    """Something works less well than it could, and what to do about it."""

    level: ClassVar[int] = WARNING
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


# --- watchers ---------------------------------------------------------------------------------


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
        return f"{self.secret}: old lease revoked"


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
        return f"{self.secret}: old lease not revoked: {self.reason}"


class SecretStale(Event, frozen=True, kw_only=True):
    level: ClassVar[int] = WARNING
    secret: str
    reason: str
    kind: str
    retry_after: float | None = None

    def __str__(self) -> str:
        return f"{self.secret}: no fresh value: {self.reason}{_again(self.retry_after)}"


class SecretExpired(Event, frozen=True, kw_only=True):
    level: ClassVar[int] = ERROR
    secret: str

    def __str__(self) -> str:
        return f"{self.secret}: the value held has expired and could not be replaced"


# --- delivery ---------------------------------------------------------------------------------


class BundlePublished(Event, frozen=True, kw_only=True):
    bundle: str
    generation: int
    secrets: list[str]
    changed_files: list[str]

    def __str__(self) -> str:
        files = ", ".join(self.changed_files)
        return f"{self.bundle}: generation {self.generation} published ({files})"


class BundleCurrent(Event, frozen=True, kw_only=True):
    """The files are as the secrets are, and that took no new generation.

    So it is after a restart of the agent, and when what failed a moment ago is well again.
    """

    level: ClassVar[int] = DEBUG
    bundle: str
    generation: int

    def __str__(self) -> str:
        return f"{self.bundle}: generation {self.generation} is current"


class BundleNotified(Event, frozen=True, kw_only=True):
    bundle: str
    generation: int
    target: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.bundle}: generation {self.generation} announced to {self.target}"


class BundleConfirmed(Event, frozen=True, kw_only=True):
    bundle: str
    generation: int
    seconds: float

    def __str__(self) -> str:
        took = duration(self.seconds)
        return f"{self.bundle}: generation {self.generation} confirmed by the app after {took}"


class BundleRolledBack(Event, frozen=True, kw_only=True):
    level: ClassVar[int] = ERROR
    bundle: str
    generation: int
    restored: int
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.bundle}: generation {self.generation} taken back, {self.restored} restored: "
            f"{self.reason}"
        )


class BundleFailed(Event, frozen=True, kw_only=True):
    """`step` is render, validate, publish, notify or confirm; the last good generation stands."""

    level: ClassVar[int] = ERROR
    bundle: str
    step: str
    reason: str
    retry_after: float | None = None

    def __str__(self) -> str:
        return f"{self.bundle}: {self.step} failed: {self.reason}{_again(self.retry_after)}"


class ProcessStarted(Event, frozen=True, kw_only=True):
    command: str
    pid: int

    def __str__(self) -> str:
        return f"{self.command} started (pid {self.pid})"


class ProcessStopping(Event, frozen=True, kw_only=True):
    command: str
    pid: int
    reason: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid}) is stopped: {self.reason}"


class ProcessSignalled(Event, frozen=True, kw_only=True):
    command: str
    pid: int
    signal: str

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid}) told of the change by {self.signal}"


class ProcessEnded(Event, frozen=True, kw_only=True):
    command: str
    pid: int
    code: int
    retry_after: float | None = None

    def __str__(self) -> str:
        again = (
            "" if self.retry_after is None else f"; starting again in {duration(self.retry_after)}"
        )
        return f"{self.command} (pid {self.pid}) ended with {self.code}{again}"


# --- the agent --------------------------------------------------------------------------------


class Started(Event, frozen=True, kw_only=True):
    version: str
    secrets: int
    bundles: int

    def __str__(self) -> str:
        secrets, bundles = counted(self.secrets, "secret"), counted(self.bundles, "bundle")
        return f"leasehold {self.version}: {secrets}, {bundles}"


class Ready(Event, frozen=True, kw_only=True):
    seconds: float

    def __str__(self) -> str:
        return f"ready after {duration(self.seconds)}"


class Stopping(Event, frozen=True, kw_only=True):
    reason: str

    def __str__(self) -> str:
        return f"stopping: {self.reason}"


class Reloading(Event, frozen=True, kw_only=True):
    """A new configuration is read; `Reloaded` or `ReloadRefused` follows."""

    level: ClassVar[int] = DEBUG
    reason: str

    def __str__(self) -> str:
        return f"reading the configuration again: {self.reason}"


class RefreshAsked(Event, frozen=True, kw_only=True):
    """Somebody asked for fresh reads, through the telemetry's door."""

    secrets: list[str]

    def __str__(self) -> str:
        few = f": {', '.join(self.secrets)}" if len(self.secrets) <= 10 else ""
        return f"asked to read {counted(len(self.secrets), 'secret')} again{few}"


class Reloaded(Event, frozen=True, kw_only=True):
    added: list[str]
    changed: list[str]
    removed: list[str]

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {word} ({', '.join(names)})"
            for word, names in (
                ("added", self.added),
                ("changed", self.changed),
                ("removed", self.removed),
            )
            if names
        ]
        return f"configuration reloaded: {'; '.join(parts) or 'nothing differs'}"


class ReloadRefused(Event, frozen=True, kw_only=True):
    level: ClassVar[int] = ERROR
    problems: list[str]

    def __str__(self) -> str:
        return "new configuration refused, the running one stays:\n" + "\n".join(self.problems)
