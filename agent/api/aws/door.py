"""The checks in the original's order, then the rules, then the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from agent.api.access import Decision, Rules
from agent.api.aws import answers
from agent.api.aws.query import BadQuery, Query, parsed
from agent.api.aws.token import Token
from agent.api.handed import Gave, unnoticed
from agent.api.http import Answer, Reply, Request
from agent.audit.record import Access, shortened
from agent.config.model import SecretEntry
from agent.core.clock import Clock, wall_at
from agent.core.errors import AgentError
from agent.core.events import Advice, Emit
from agent.core.file_changes import FileChanges
from agent.ledger import Entry, Ledger, State

MOST_CONNECTIONS = 800
MORE_FOR_PING = 2
LONGEST_WAIT = 10.0
"""Seconds that a request waits for a first value, or for a fresh one."""
LEASE_FLOOR = 60.0
"""Seconds: a credential that is younger is fresh enough. Each wish would make another one."""

Refresh = Callable[[str, float], Awaitable[bool]]
"""Has a secret read again; whether that was done, well or not, by the deadline (an instant)."""


class AwsDoor:
    """Answers for one listener; `rules` and `secrets` are asked anew for each request.

    `secrets` is another object when the configuration is another. `connections` is how many there
    are now.
    """

    most_body = 65536

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        *,
        rules: Callable[[], Rules],
        secrets: Callable[[], Mapping[str, SecretEntry]],
        refresh: Refresh,
        token: Token | None,
        clock: Clock,
        emit: Emit,
        changes: FileChanges,
        connections: Callable[[], int] = lambda: 0,
        gave: Gave = unnoticed,
    ) -> None:
        """`token` None: none is asked for."""
        self._token, self._token_changed = token, asyncio.Event()
        self._name, self._ledger, self._rules = name, ledger, rules
        self._secrets, self._refresh, self._connections = secrets, refresh, connections
        self._clock, self._emit, self._changes = clock, emit, changes
        self._gave = gave
        self._known: Mapping[str, SecretEntry] | None = None
        self._names: dict[str, str] = {}
        self._values: dict[str, tuple[int, Answer]] = {}

    async def run(self) -> None:
        """Take up a token file that has changed; never returns."""
        while True:
            self._token_changed.clear()
            if self._token is None or self._token.file is None:
                await self._token_changed.wait()
                continue
            with self._changes.watch(self._token.file, event=self._token_changed):
                await self._read_token(self._token, self._token.file)
                await self._token_changed.wait()

    def reconfigure(self, token: Token | None) -> None:
        """Go on with another token."""
        self._token = token
        self._token_changed.set()

    async def _read_token(self, token: Token, file: Path) -> None:
        try:
            fresh = await asyncio.to_thread(Token.from_file, file)
        except AgentError as error:
            text = f"{error}; the token of before goes on"
            self._emit(Advice(subject=self._name, text=text))
            return
        if self._token is token:
            self._token = fresh

    def answer(self, request: Request) -> Answer | Awaitable[Reply]:
        is_ping = request.path == "/ping"
        if self._connections() > MOST_CONNECTIONS + (MORE_FOR_PING if is_ping else 0):
            return answers.TOO_MANY
        if not is_ping and (refused := self._forged(request)) is not None:
            request.record = Access(self._name, decision="denied")
            return refused
        if request.method != "GET":
            return answers.NOT_ALLOWED
        if is_ping:
            return answers.HEALTHY
        try:
            query = parsed(request.path, request.query)
        except BadQuery as bad:
            return answers.plain(bad.status, bad.text)
        return self._asked(request, query)

    def _forged(self, request: Request) -> Answer | None:
        """Somebody else's wish, passed on by a program that was misled."""
        if "x-forwarded-for" in request.headers:
            return answers.FORWARDED
        if self._token is not None and not self._token.is_in(request.headers):
            return answers.BAD_TOKEN
        return None

    def _asked(self, request: Request, query: Query) -> Answer | Awaitable[Reply]:
        name = self._name_of(query.secret_id)
        decision = self._rules().decide(request.caller, name or query.secret_id)
        if not decision.is_allowed or name is None:
            self._note(request, name or query.secret_id, decision)
            return answers.NO_SECRET if decision.is_allowed else answers.DENIED
        if query.role_arn is not None:
            self._note(request, name, decision)
            return answers.NO_ROLE
        if query.is_refresh:
            return self._refreshed(request, query, name, decision)
        if self._ledger.entry(name).is_usable:
            return self._held(request, query, name, decision)
        return self._first(request, query, name, decision)

    def _name_of(self, secret_id: str) -> str | None:
        """The secret that a name, an alias or an ARN of ours means."""
        secrets = self._secrets()
        if secrets is not self._known:
            self._known = secrets
            self._names = {alias: name for name, each in secrets.items() for alias in each.aliases}
            self._names |= {answers.ARN_PREFIX + name: name for name in secrets}
            self._names |= {name: name for name in secrets}
            self._values.clear()
        return self._names.get(secret_id)

    # --- what is held -------------------------------------------------------------------------

    def _held(self, request: Request, query: Query, name: str, decision: Decision) -> Answer:
        entry = self._ledger.entry(name)
        self._note(request, name, decision, entry)
        if not entry.is_usable or entry.reading is None:
            return answers.not_held(entry)
        if query.version_id not in (None, entry.reading.version):
            return answers.no_version("VersionId", str(query.version_id))
        if query.version_stage not in (None, answers.CURRENT):
            return answers.no_version("staging label", str(query.version_stage))
        self._gave(entry)
        return self._value(entry)

    def _value(self, entry: Entry) -> Answer:
        """Made once for each revision."""
        revision, kept = self._values.get(entry.name, (0, answers.TIMEOUT))
        if revision != entry.revision:
            created = wall_at(self._clock, entry.read_at or self._clock.now())
            kept = answers.value(entry, created)
            self._values[entry.name] = (entry.revision, kept)
        return kept

    async def _first(self, request: Request, query: Query, name: str, decision: Decision) -> Answer:
        """The agent has just started, or the value has expired: one is on its way, perhaps."""
        deadline = self._clock.now() + LONGEST_WAIT
        changed = asyncio.Event()
        with self._ledger.subscribe((name,), changed):
            while not (self._ledger.entry(name).is_usable or self._ledger.entry(name).kind):
                changed.clear()
                if not await self._clock.wait(changed, deadline):
                    break
        return self._held(request, query, name, decision)

    async def _refreshed(
        self, request: Request, query: Query, name: str, decision: Decision
    ) -> Answer:
        """As fresh as can be had in time: a passing failure gives what is held."""
        if not self._is_just_made(self._ledger.entry(name)):
            await self._refresh(name, self._clock.now() + LONGEST_WAIT)
        entry = self._ledger.entry(name)
        if entry.kind in ("denied", "missing"):
            self._note(request, name, decision, entry)
            return answers.not_held(entry)
        return self._held(request, query, name, decision)

    def _is_just_made(self, entry: Entry) -> bool:
        has_lease = entry.reading is not None and entry.reading.lease is not None
        is_young = (entry.read_at or 0.0) + LEASE_FLOOR > self._clock.now()
        return has_lease and is_young and entry.state is State.FRESH

    # --- the audit ----------------------------------------------------------------------------

    def _note(
        self, request: Request, secret: str, decision: Decision, entry: Entry | None = None
    ) -> None:
        is_held = entry is not None and entry.reading is not None
        request.record = Access(
            self._name,
            secret=shortened(secret),
            version=entry.reading.version if is_held else None,  # type: ignore[union-attr]
            decision="allowed" if decision.is_allowed else "denied",
            rule=decision.rule,
        )
