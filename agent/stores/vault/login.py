"""Logging in: when it is to be tried, and how long to wait after it went wrong."""

from __future__ import annotations

from collections.abc import Callable

from agent.core.backoff import Backoff
from agent.core.clock import Clock
from agent.core.errors import NotLoggedIn, Outage, StoreError
from agent.core.events import Advice, Emit, LoggedIn, LoginFailed
from agent.stores.budget import Paced, Priority
from agent.stores.vault.auth import AuthMethod, Grant
from agent.stores.vault.client import VaultClient
from agent.stores.vault.token import Token

LONGEST_PAUSE = 300.0
LONGEST_PAUSE_WITHOUT_ANSWER = 15.0
SHORTEST_TOKEN_LIFE = 5.0
"""A token that dies sooner than this is no success of its login: the next is not at once."""


class Login:
    """`is_wanted`, but not before `at`; `refusal` is why the last one was turned down."""

    def __init__(
        self,
        store: str,
        method: AuthMethod,
        client: VaultClient,
        *,
        paced: Paced,
        clock: Clock,
        emit: Emit,
        changed: Callable[[], None],
    ) -> None:
        self._store, self._method, self._client = store, method, client
        self._paced, self._clock, self._emit, self._changed = paced, clock, emit, changed
        self._backoff = Backoff(first=1.0, ceiling=LONGEST_PAUSE)
        self.is_wanted = True
        self.at = 0.0
        self.refusal: StoreError | None = None

    @property
    def is_due(self) -> bool:
        return self.is_wanted and self._clock.now() >= self.at

    def now(self) -> None:
        """There is another credential: it is used at once."""
        self.is_wanted, self.at = True, 0.0

    def after(self, dead: Token) -> None:
        """At once after a token that has lived; slower and slower while they die unused."""
        now = self._clock.now()
        self.is_wanted = True
        if now - dead.had_at >= SHORTEST_TOKEN_LIFE:
            self._backoff.reset()
            self.at = now
            return
        pause = self._backoff.delay()
        self.at = now + (min(pause, SHORTEST_TOKEN_LIFE) if dead.has_served else pause)

    def absence(self, reason: str) -> NotLoggedIn:
        """Why there is no token: the refusal, or else `reason`."""
        reason = reason if self.refusal is None else self.refusal.reason
        return NotLoggedIn("log in", self._store, self._method.name, reason)

    async def attempt(self) -> Grant | None:
        """Log in; None, and said why, if that went wrong."""
        try:
            grant = await self._paced(
                Priority.LOGIN, "log in", lambda: self._method.login(self._client)
            )
        except StoreError as error:
            self._failed(error)
            return None
        self.refusal, self._backoff.ceiling = None, LONGEST_PAUSE
        self.is_wanted = False
        return grant

    async def succeeded(self, grant: Grant) -> None:
        """The grant is in use."""
        self._emit(LoggedIn(store=self._store, method=self._method.name, ttl_seconds=grant.ttl))
        if grant.uses:
            text = f"its tokens are good for {grant.uses} requests, and leases die with them"
            self._emit(Advice(subject=self._store, text=text))
        self._changed()
        try:
            await self._method.logged_in()
        except OSError as error:
            text = f"the credential's file can't be removed: {error.strerror}"
            self._emit(Advice(subject=self._store, text=text))

    def _failed(self, error: StoreError) -> None:
        """An outage of the whole store sets the pace by itself; else there is a backoff."""
        if isinstance(error, Outage) and error.is_store_wide:
            return
        is_outage = isinstance(error, Outage)
        if not is_outage:
            self.refusal = error
            self._changed()
        self._backoff.ceiling = LONGEST_PAUSE_WITHOUT_ANSWER if is_outage else LONGEST_PAUSE
        pause = self._backoff.delay()
        self.at = self._clock.now() + pause
        store, method = self._store, self._method.name
        failed = LoginFailed(store=store, method=method, reason=error.reason, retry_after=pause)
        self._emit(failed)
