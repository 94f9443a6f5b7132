"""What the sealed cache tells."""

from __future__ import annotations

from typing import ClassVar

from agent.core.events.base import DEBUG, ERROR, Event, again, counted, duration


class CacheTakenUp(Event, frozen=True, kw_only=True):
    """What the run before left is there; how much of it is still good is told of each secret."""

    age_seconds: float
    secrets: int

    def __str__(self) -> str:
        return f"cache: {counted(self.secrets, 'secret')} of {duration(self.age_seconds)} ago"


class CacheRefused(Event, frozen=True, kw_only=True):
    """The file can't be believed, or is of no use: the agent starts as if there were none."""

    level: ClassVar[int] = ERROR
    file: str
    reason: str

    def __str__(self) -> str:
        return f"cache refused: {self.file}: {self.reason}"


class CacheWritten(Event, frozen=True, kw_only=True):
    level: ClassVar[int] = DEBUG
    bytes: int
    seconds: float

    def __str__(self) -> str:
        return f"cache: {counted(self.bytes, 'byte')} written in {duration(self.seconds)}"


class CacheFailed(Event, frozen=True, kw_only=True):
    """It could not be written; the file is as it was. `is_news`: the reason is a new one."""

    file: str
    reason: str
    is_news: bool
    retry_after: float | None = None

    @property
    def level(self) -> int:  # type: ignore[override]  # a class's constant everywhere else
        return ERROR if self.is_news else DEBUG

    def __str__(self) -> str:
        return f"cache not written: {self.file}: {self.reason}{again(self.retry_after)}"


class CacheBack(Event, frozen=True, kw_only=True):
    """It is written again, for the first time since `CacheFailed`."""

    down_seconds: float

    def __str__(self) -> str:
        return f"cache: is written again after {duration(self.down_seconds)}"
