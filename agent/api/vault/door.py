"""`protocol: vault`: what a request gets, and by what right.

In this order: what the server tells everybody; the caller's own token, with which the vault
decides; the agent's token and leases, which nobody is given; secrets of the configuration, from the
ledger; paths that a rule opens, by the agent's token. Everything else is denied, in one way.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from agent.api.access import Decision, Rules
from agent.api.caller import Caller
from agent.api.handed import Gave, unnoticed
from agent.api.http import Answer, Reply, Request
from agent.api.vault import leases, own_token
from agent.api.vault.asking import Asked, asked, refuse_browsers
from agent.api.vault.held import Held, mount_answer, possible_paths
from agent.api.vault.relay import Relay, Upstream
from agent.api.vault.words import Refused, denied, failed
from agent.audit.record import Access
from agent.config.listener_model import VaultListener
from agent.config.model import SecretEntry
from agent.core.clock import Clock
from agent.core.errors import Outage
from agent.ledger import Ledger

PUBLIC = frozenset(("sys/health", "sys/seal-status", "sys/leader"))
LOGIN = re.compile(r"(?:[^/]+/)*auth/(?:[^/]+/)+login(?:/[^/]+)?")
MOUNTS = "sys/internal/ui/mounts/"

MOST_DECISIONS = 4096
ANY = ("read", "list", "create", "update", "patch", "delete")


class VaultDoor:
    """One listener's. `rules` are those in force; what was decided by them is kept with them."""

    def __init__(
        self,
        listener: str,
        spec: VaultListener,
        ledger: Ledger,
        *,
        rules: Callable[[], Rules],
        upstream: Callable[[], Upstream | None],
        clock: Clock,
        gave: Gave = unnoticed,
    ) -> None:
        """`upstream` is the store of now, None while there is none."""
        self._listener, self._rules, self._upstream = listener, rules, upstream
        self._clock, self._gave = clock, gave
        self._held = Held(ledger, clock)
        self._relay = Relay()
        self._decided: dict[tuple[Caller, str], Decision] = {}
        self._decided_by: Rules | None = None
        self._spec = spec
        self.most_body = spec.limits.request_bytes

    def use(self, spec: VaultListener, secrets: Mapping[str, SecretEntry]) -> None:
        """Go on with this configuration; of the secrets, those of its store count."""
        self._spec = spec
        self.most_body = spec.limits.request_bytes
        own = {name: each for name, each in secrets.items() if each.store == spec.store}
        self._held.use(own)

    def answer(self, request: Request) -> Answer | Awaitable[Reply]:
        request.record = Access(self._listener, decision="denied")
        try:
            if not request.caller.is_local_socket:
                refuse_browsers(request)
            wanted = asked(request)
            said = ", ".join(wanted.capabilities) or None
            request.record = Access(
                self._listener, path=wanted.path, capability=said, decision="denied"
            )
            answer = self._answer(wanted, request)
        except Refused as refused:
            return refused.answer()
        return answer if isinstance(answer, Answer) else _refusing(answer)

    def _answer(self, wanted: Asked, request: Request) -> Answer | Awaitable[Reply]:
        path = wanted.within(self._namespace)
        if wanted.path in PUBLIC and wanted.is_read and not wanted.namespace:
            self._allow(request)
            return self._relay.public(self._vault, wanted, request)
        if wanted.token or self._is_login(wanted):
            return self._with_their_token(wanted, request)
        if own_token.is_about_self(wanted.path):
            return self._about_self(wanted, request, path)
        if path is None:
            raise denied()
        if (found := self._from_ledger(wanted, request, path)) is not None:
            return found
        return self._with_our_token(wanted, request, path)

    # --- whose word it is ---------------------------------------------------------------------

    def _with_their_token(self, wanted: Asked, request: Request) -> Awaitable[Reply]:
        if not self._spec.pass_tokens:
            raise Refused(403, "requests with a token are not passed on here: ask without one")
        self._allow(request)
        return self._relay.with_their_token(self._vault, wanted, request)

    def _is_login(self, wanted: Asked) -> bool:
        """It makes a token of the caller's own: the agent's has no part in it."""
        is_write = wanted.method in ("POST", "PUT")
        return self._spec.pass_tokens and is_write and LOGIN.fullmatch(wanted.path) is not None

    def _about_self(self, wanted: Asked, request: Request, path: str | None) -> Awaitable[Reply]:
        """For those who may have anything here."""
        if all(self._rules().failures(request.caller)):
            raise denied()
        self._allow(request)
        return own_token.answer(self._vault, wanted, path)

    def _with_our_token(self, wanted: Asked, request: Request, path: str) -> Awaitable[Reply]:
        decision = self._decide_path(request.caller, wanted, path)
        if not decision.is_allowed:
            raise denied()
        self._allow(request, rule=decision.rule)
        return self._relay.with_our_token(self._vault, wanted, request)

    def _decide_path(self, caller: Caller, wanted: Asked, path: str) -> Decision:
        if not wanted.capabilities:
            return Decision(False)
        paths = [path]
        if wanted.capabilities == ("list",):  # a folder, with its slash or without
            paths = [path.rstrip("/"), path.rstrip("/") + "/"]
        rules = self._rules()
        return max(
            (
                min(
                    (
                        rules.decide_path(caller, each, capability)
                        for capability in wanted.capabilities
                    ),
                    key=lambda decision: decision.is_allowed,
                )
                for each in paths
            ),
            key=lambda decision: decision.is_allowed,
        )

    # --- from the ledger ----------------------------------------------------------------------

    def _from_ledger(
        self, wanted: Asked, request: Request, path: str
    ) -> Answer | Awaitable[Reply] | None:
        """None where it has nothing to say of this to this caller."""
        if path != wanted.path:
            return None  # of a namespace below
        for name in self._held.meant(wanted, request):
            decision = self._decide(request.caller, name)
            if decision.is_allowed:
                return self._held_answer(wanted, request, name, decision)
        if (lease := leases.wish(wanted.method, path, request.body)) is not None:
            return self._of_lease(lease, request)
        if wanted.is_read and path.startswith(MOUNTS):
            return self._mount(wanted, request, path.removeprefix(MOUNTS))
        return None

    def _held_answer(
        self, wanted: Asked, request: Request, name: str, decision: Decision
    ) -> Answer | Awaitable[Reply] | None:
        entry = self._held.entry(name)
        if wanted.wraps:  # made by the vault; only of what it gives to all alike
            envelope = self._held.envelope(name)
            if envelope is None or envelope.kv_version is None:
                return None
            self._allow(request, name, decision.rule)
            return self._relay.with_our_token(self._vault, wanted, request)
        version = None if entry.reading is None else entry.reading.version
        self._allow(request, name, decision.rule, version)
        answer = self._held.answer(name)
        self._gave(entry)
        return answer

    def _of_lease(self, wanted: leases.Wish, request: Request) -> Answer | None:
        """None for one that is not held; one of a secret that is not the caller's is denied."""
        names = self._held.leased(wanted.lease_id)
        for name in names:
            decision = self._decide(request.caller, name)
            if decision.is_allowed:
                answer = leases.fulfilled(wanted, self._held, name, self._clock)
                self._allow(request, name, decision.rule)
                return answer
        if names:
            raise denied()
        return None

    def _mount(
        self, wanted: Asked, request: Request, path: str
    ) -> Answer | Awaitable[Reply] | None:
        """What the KV commands ask first, for those who may have something there."""
        for name in self._held.readers_of(path):
            envelope, decision = self._held.envelope(name), self._decide(request.caller, name)
            if decision.is_allowed and envelope is not None and envelope.kv_version is not None:
                self._allow(request, name, decision.rule)
                return mount_answer(envelope)
        rule = self._rule_below(request.caller, path)
        if rule is None:
            return None
        self._allow(request, rule=rule)
        return self._relay.with_our_token(self._vault, wanted, request)

    def _rule_below(self, caller: Caller, path: str) -> int | None:
        """The rule that opens this path, in a form that the KV commands give it, for anything."""
        rules = self._rules()
        for each in possible_paths(path):
            for form in (each, each.replace("/data/", "/metadata/", 1), f"{each}/"):
                for capability in ANY:
                    decision = rules.decide_path(caller, form, capability)
                    if decision.is_allowed:
                        return decision.rule
        return None

    # --- inside -------------------------------------------------------------------------------

    @property
    def _vault(self) -> Upstream:
        upstream = self._upstream()
        if upstream is None:
            raise failed(Outage("pass on", self._spec.store, "", "there is no such store"))
        return upstream

    @property
    def _namespace(self) -> str:
        upstream = self._upstream()
        return "" if upstream is None else upstream.namespace.strip("/")

    def _decide(self, caller: Caller, name: str) -> Decision:
        rules = self._rules()
        if rules is not self._decided_by or len(self._decided) >= MOST_DECISIONS:
            self._decided, self._decided_by = {}, rules
        key = (caller, name)
        if (decision := self._decided.get(key)) is None:
            decision = self._decided[key] = rules.decide(caller, name)
        return decision

    def _allow(
        self,
        request: Request,
        secret: str | None = None,
        rule: int | None = None,
        version: str | None = None,
    ) -> None:
        record: Access = request.record
        request.record = msgspec.structs.replace(
            record, secret=secret, rule=rule, version=version, decision="allowed"
        )


async def _refusing(answering: Awaitable[Reply]) -> Reply:
    try:
        return await answering
    except Refused as refused:
        return refused.answer()
