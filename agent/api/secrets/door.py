"""One request to one answer. What needs no waiting is answered at once, without a task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import msgspec

from agent.api.access import Decision, Rules
from agent.api.handed import Gave, unnoticed
from agent.api.http import Answer, Reply, Request, Stream, problem
from agent.api.secrets.answers import (
    DENIED_ANSWER,
    NO_FIELD,
    NOTHING_HERE,
    Kept,
    KeptAnswers,
    not_had,
    summary,
)
from agent.api.secrets.bundles import Bundles, BundleState, shown, taken
from agent.api.secrets.changes import Changes
from agent.api.secrets.events import CONTENT_TYPE, events
from agent.api.secrets.sight import Sights
from agent.api.secrets.targets import (
    ALLOWED,
    BadQuestion,
    Confirmed,
    Refused,
    Target,
    no_parameters,
    said,
    target,
    wait_seconds,
)
from agent.audit.record import Access
from agent.core.clock import Clock
from agent.ledger import Ledger

MOST_BODY = 16 * 1024
"""Bytes: the bodies here are a version or a sentence."""

OnRefused = Callable[[str, str], bool]
"""(name, version): whether something is done about it now; False if that was done before."""


class SecretsDoor:
    """The `Door` of one listener. `run` for as long as it answers, or nobody hears of changes."""

    most_body = MOST_BODY

    def __init__(
        self,
        listener: str,
        rules: Rules,
        names: Collection[str],
        ledger: Ledger,
        *,
        clock: Clock,
        bundles: Bundles,
        refused: OnRefused,
        gave: Gave = unnoticed,
    ) -> None:
        """`listener` is what the audit calls it, `names` the secrets of the configuration."""
        self._gave = gave
        self._listener, self._ledger, self._clock = listener, ledger, clock
        self._bundles, self._refused = bundles, refused
        self._sights = Sights(rules, names)
        self._kept = KeptAnswers(clock)
        self._changes = Changes(clock)

    def reconfigure(self, rules: Rules, names: Collection[str]) -> None:
        """Go on with other rules; who waits for what is no longer allowed is told so."""
        self._sights = Sights(rules, names)
        self._changes.all()

    def close(self) -> None:
        """Nobody waits any more: each is answered with what there is."""
        self._changes.end()

    async def run(self) -> None:
        """Never returns."""
        with self._ledger.observe(self._changed):
            await asyncio.Event().wait()

    def answer(self, request: Request) -> Answer | Awaitable[Reply]:
        asked = target(request.method, request.path)
        if asked is None:
            return NOTHING_HERE
        allowed = ALLOWED[asked.kind]
        if request.method not in allowed.split(", "):
            return problem(405, f"{allowed} may be done here", headers=(("Allow", allowed),))
        try:
            return self._answer(request, asked)
        except BadQuestion as bad:
            return problem(400, str(bad))

    def _answer(self, request: Request, asked: Target) -> Answer | Awaitable[Reply]:
        """BadQuestion before anything is looked up: what is wrong is so for every name."""
        if asked.kind == "secret":
            return self._secret(request, asked, wait_seconds(request.query))
        no_parameters(request.query)
        match asked.kind:
            case "secrets":
                return self._list(request)
            case "field":
                return self._field(request, asked)
            case "events":
                return self._events(request)
            case "refused":
                return self._refuse(request, asked, said(request.body, Refused))
            case "bundle":
                return self._bundle(request, asked)
            case "confirm":
                return self._confirm(request, asked, said(request.body, Confirmed))
        return _described()

    # --- secrets ------------------------------------------------------------------------------

    def _list(self, request: Request) -> Answer:
        sight, count = self._sights.of(request.caller), self._changes.count
        self._note(request, Decision(True), action="list")
        if sight.listing is None or sight.listing[0] != count:
            known = [summary(self._ledger.entry(name)) for name in sight.secrets]
            body = msgspec.json.encode({"secrets": known}) + b"\n"
            sight.listing = count, Answer(200, body)
        return sight.listing[1]

    def _secret(
        self, request: Request, asked: Target, wait: float | None
    ) -> Answer | Awaitable[Reply]:
        decision = self._sights.of(request.caller).secret(asked.name)
        if not decision.is_allowed or asked.name is None:
            return self._deny(request, asked)
        kept = self._kept.of(self._ledger.entry(asked.name))
        known = request.headers.get("if-none-match")
        if wait and (kept is None or known is None or kept.is_known(known)):
            if known is None and kept is not None:
                known = kept.etag
            return self._secret_later(request, asked, known, self._clock.now() + wait)
        return self._told(request, asked, decision, kept, known)

    async def _secret_later(
        self, request: Request, asked: Target, known: str | None, deadline: float
    ) -> Answer:
        """Once it is another one than the one known, or at the deadline."""
        name, is_time_left = asked.name or "", True
        while True:
            decision = self._sights.of(request.caller).secret(name)
            if not decision.is_allowed:
                return self._deny(request, asked)
            kept = self._kept.of(self._ledger.entry(name))
            is_news = kept is not None and not kept.is_known(known)
            if is_news or not is_time_left:
                return self._told(request, asked, decision, kept, known)
            is_time_left = await self._changes.next(name, deadline)

    def _told(
        self,
        request: Request,
        asked: Target,
        decision: Decision,
        kept: Kept | None,
        known: str | None,
    ) -> Answer:
        self._note(request, decision, asked, version=None if kept is None else kept.version)
        if kept is None:
            return not_had(self._ledger.entry(asked.name or ""), self._clock)
        self._gave(self._ledger.entry(asked.name or ""))
        return kept.not_modified if kept.is_known(known) else kept.whole

    def _field(self, request: Request, asked: Target) -> Answer:
        decision = self._sights.of(request.caller).secret(asked.name)
        if not decision.is_allowed or asked.name is None:
            return self._deny(request, asked)
        entry = self._ledger.entry(asked.name)
        kept = self._kept.of(entry)
        self._note(request, decision, asked, version=None if kept is None else kept.version)
        if kept is None:
            return not_had(entry, self._clock)
        answer = kept.field(asked.field)
        if answer is None:
            return NO_FIELD
        self._gave(entry)
        return kept.not_modified if kept.is_known(request.headers.get("if-none-match")) else answer

    def _refuse(self, request: Request, asked: Target, word: Refused) -> Answer:
        decision = self._sights.of(request.caller).secret(asked.name)
        if not decision.is_allowed or asked.name is None:
            return self._deny(request, asked, "refused")
        self._note(request, decision, asked, action="refused", version=word.version)
        is_new = self._refused(asked.name, word.version)
        return Answer(202, msgspec.json.encode({"is_new": is_new}) + b"\n")

    # --- events -------------------------------------------------------------------------------

    def _events(self, request: Request) -> Answer | Awaitable[Reply]:
        self._note(request, Decision(True), action="watch")
        if request.method == "HEAD":
            return Answer(200, content_type=CONTENT_TYPE)
        return self._stream(request)

    async def _stream(self, request: Request) -> Stream:
        def visible() -> Collection[str]:
            return self._sights.of(request.caller).secrets

        chunks = events(self._changes, self._ledger, self._clock, visible)
        return Stream(chunks, headers=(("Content-Type", CONTENT_TYPE),))

    # --- bundles ------------------------------------------------------------------------------

    def _bundle(self, request: Request, asked: Target) -> Answer:
        found = self._bundle_for(request, asked)
        return found if isinstance(found, Answer) else shown(asked.name or "", found)

    def _confirm(self, request: Request, asked: Target, word: Confirmed) -> Answer:
        found = self._bundle_for(request, asked, version=str(int(word.generation)))
        if isinstance(found, Answer):
            return found
        name = asked.name or ""
        return taken(name, self._bundles.confirm(name, int(word.generation), word.error), found)

    def _bundle_for(
        self, request: Request, asked: Target, version: str | None = None
    ) -> BundleState | Answer:
        """The bundle, or the denial. One that there is not is judged all the same."""
        name = asked.name or ""
        bundle = self._bundles.state(name)
        secrets = frozenset[str]() if bundle is None else bundle.secrets
        decision = self._sights.of(request.caller).bundle(name, secrets)
        if bundle is None or not decision.is_allowed:
            return self._deny(request, asked, asked.kind)
        self._note(request, decision, asked, action=asked.kind, version=version)
        return bundle

    # --- inside -------------------------------------------------------------------------------

    def _changed(self, name: str) -> None:
        self._kept.forget(name)
        self._changes(name)

    def _deny(self, request: Request, asked: Target, action: str | None = None) -> Answer:
        self._note(request, Decision(False), asked, action=action)
        return DENIED_ANSWER

    def _note(
        self,
        request: Request,
        decision: Decision,
        asked: Target | None = None,
        *,
        action: str | None = None,
        version: str | None = None,
    ) -> None:
        """What the audit is told."""
        is_bundle = asked is not None and asked.kind in ("bundle", "confirm")
        name = None if asked is None else asked.name
        request.record = Access(
            self._listener,
            secret=None if is_bundle else name,
            field=None if asked is None else asked.field,
            version=version,
            path=f"bundles/{name}" if is_bundle else None,
            action=action,
            decision="allowed" if decision.is_allowed else "denied",
            rule=decision.rule,
        )


def _described() -> Answer:
    """Whoever may connect may know what there is to ask."""
    from agent.api.secrets.openapi import OPENAPI

    return OPENAPI
