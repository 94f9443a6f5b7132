"""How one store and one bundle stand, as the events tell it. Instants are of `Clock.now()`."""

from __future__ import annotations

import msgspec

from agent.core.events import (
    BundleConfirmed,
    BundleCurrent,
    BundleFailed,
    BundleMoved,
    BundleNotified,
    BundlePublished,
    BundleRestored,
    BundleRolledBack,
    Event,
    LoggedIn,
    LoginFailed,
    RequestDone,
    StoreBack,
    StoreDown,
    TokenLost,
    TokenRenewed,
    TokenResumed,
)

UP, DOWN, LOGGING_IN = "up", "down", "logging_in"
WAITING, PUBLISHED, NOTIFIED = "waiting", "published", "notified"
CONFIRMED, FAILED, ROLLED_BACK = "confirmed", "failed", "rolled_back"


class StoreStanding(msgspec.Struct):
    """`since` is when `state` began; `needs_login` tells a vault from a file."""

    state: str
    since: float
    needs_login: bool
    reason: str | None = None
    logged_in_at: float | None = None
    token_expires_at: float | None = None

    @classmethod
    def at_first(cls, now: float, *, needs_login: bool) -> StoreStanding:
        """Before anything was heard."""
        return cls(LOGGING_IN if needs_login else UP, now, needs_login)

    def hear(self, event: Event, now: float) -> None:
        """Something about this store."""
        match event:
            case RequestDone(outcome=outcome):
                # An answer to whoever is logged in: the token that was lost was an old one.
                if self.state == LOGGING_IN and self.logged_in_at and outcome == "ok":
                    self._enter(UP, now)
            case LoggedIn() | TokenResumed():
                self._enter(UP, now)
                self.logged_in_at = now
                self._token_lasts(event.ttl_seconds, now)
            case TokenRenewed():
                self._token_lasts(event.ttl_seconds, now)
            case LoginFailed():
                self._enter(UP if self.state == UP else LOGGING_IN, now, event.reason)
            case TokenLost():
                self._enter(LOGGING_IN, now, event.reason)
                self.token_expires_at = None
            case StoreDown():
                self._enter(DOWN, now, event.reason)
            case StoreBack():
                is_usable = self.logged_in_at is not None or not self.needs_login
                self._enter(UP if is_usable else LOGGING_IN, now)

    def _enter(self, state: str, now: float, reason: str | None = None) -> None:
        if self.state != state:
            self.state, self.since = state, now
        self.reason = reason

    def _token_lasts(self, seconds: float | None, now: float) -> None:
        self.token_expires_at = None if seconds is None else now + seconds


class BundleStanding(msgspec.Struct):
    """`generation` is the one that stands, 0 before the first; `step` and `reason` of a failure.

    `state` is the step that is under way, and else what came of the last one. `_taken_back`: why a
    newer generation was, until another one is published.
    """

    state: str = WAITING
    generation: int = 0
    confirmed_at: float | None = None
    step: str | None = None
    reason: str | None = None
    _at_rest: str = WAITING
    _before_failure: str = PUBLISHED
    _taken_back: str | None = None

    @property
    def is_published(self) -> bool:
        return self.generation > 0

    def hear(self, event: Event, now: float) -> None:
        """Something about this bundle."""
        match event:
            case BundleMoved():
                self.state = self._at_rest if event.state == WAITING else event.state
            case BundlePublished():
                self._went_well(PUBLISHED, event.generation)
            case BundleNotified() if self._taken_back is not None:
                self._failed(ROLLED_BACK, "confirm", self._taken_back)
            case BundleNotified():
                self._went_well(NOTIFIED, event.generation)
            case BundleConfirmed():
                self._went_well(CONFIRMED, event.generation)
                self.confirmed_at = now
            case BundleCurrent():
                self._went_well(self._before_failure, event.generation)
            case BundleFailed():
                self._failed(FAILED, event.step, event.reason)
            case BundleRolledBack():
                self.generation, self._taken_back = event.restored, event.reason
                self._failed(ROLLED_BACK, "confirm", event.reason)
            case BundleRestored() if self._taken_back is not None:
                self._failed(ROLLED_BACK, "confirm", self._taken_back)
                self._before_failure = CONFIRMED
            case BundleRestored():  # of a drill
                self._went_well(CONFIRMED, event.generation)

    def _went_well(self, state: str, generation: int) -> None:
        self.state = self._at_rest = self._before_failure = state
        self.generation = generation
        self.step = self.reason = self._taken_back = None

    def _failed(self, state: str, step: str, reason: str) -> None:
        self.state = self._at_rest = state
        self.step, self.reason = step, reason
