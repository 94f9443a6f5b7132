"""What bundles and the child process tell."""

from __future__ import annotations

from typing import ClassVar

from agent.core.events.base import DEBUG, ERROR, Event, again, duration


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


class BundleMoved(Event, frozen=True, kw_only=True):
    """A bundle begins with a step of its transaction, or is done with it: `waiting`.

    `state`: waiting, rendering, comparing, validating, publishing, notifying, confirming, settling
    or rolling_back.
    """

    level: ClassVar[int] = DEBUG
    bundle: str
    state: str

    def __str__(self) -> str:
        return f"{self.bundle}: {self.state}"


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


class BundleRestored(Event, frozen=True, kw_only=True):
    """The app is proven to work again with the generation that was put back."""

    bundle: str
    generation: int
    seconds: float

    def __str__(self) -> str:
        took = duration(self.seconds)
        return f"{self.bundle}: generation {self.generation} confirmed again after {took}"


class BundleDrilled(Event, frozen=True, kw_only=True):
    """A rehearsal of a rotation is over; `outcome` is that of its report."""

    bundle: str
    generation: int
    outcome: str
    seconds: float

    def __str__(self) -> str:
        took = duration(self.seconds)
        return f"{self.bundle}: drill with generation {self.generation}: {self.outcome}, {took}"


class BundleFailed(Event, frozen=True, kw_only=True):
    """`step` is render, validate, publish, notify or confirm; the last good generation stands."""

    level: ClassVar[int] = ERROR
    bundle: str
    step: str
    reason: str
    retry_after: float | None = None

    def __str__(self) -> str:
        return f"{self.bundle}: {self.step} failed: {self.reason}{again(self.retry_after)}"


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
