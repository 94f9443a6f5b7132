"""What the agent as a whole tells, and its advice."""

from __future__ import annotations

from typing import ClassVar

from agent.core.events.base import DEBUG, ERROR, WARNING, Event, counted, duration


class Advice(Event, frozen=True, kw_only=True):
    """Something works less well than it could, and what to do about it."""

    level: ClassVar[int] = WARNING
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


class Started(Event, frozen=True, kw_only=True):
    version: str
    secrets: int
    bundles: int

    def __str__(self) -> str:
        secrets, bundles = counted(self.secrets, "secret"), counted(self.bundles, "bundle")
        return f"leasehold {self.version}: {secrets}, {bundles}"


class ProcessHardened(Event, frozen=True, kw_only=True):
    """What protects the agent's own process; `missing` with the reason of each."""

    in_force: list[str]
    missing: list[str]

    def __str__(self) -> str:
        text = f"hardening: in force: {', '.join(self.in_force) or 'nothing'}"
        return f"{text}; not in force: {'; '.join(self.missing)}" if self.missing else text


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
