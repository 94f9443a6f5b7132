"""What is known now of stores, secrets and bundles: `/status`, readiness, one line for systemd.

Secrets are read from the ledger, stores and bundles kept from the events; instants become RFC 3339
only when somebody asks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from agent.config.model import Configuration, LocalStore
from agent.core.clock import Clock, rfc3339, wall_at
from agent.core.events import Event, counted
from agent.ledger import Entry, Ledger, State
from agent.telemetry.standing import UP, BundleStanding, StoreStanding


class Status:
    """Listens to events, and answers. `expect` says what a configuration asks for.

    `answered` has the answers of each listener by their status, counted there by the door itself:
    thirty thousand events a second would cost more than the answers. `hardening` is what `/status`
    says of the process itself.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        redact: Callable[[str], str],
        is_process_started: Callable[[], bool] = lambda: True,
    ) -> None:
        self.stores: dict[str, StoreStanding] = {}
        self.bundles: dict[str, BundleStanding] = {}
        self.hardening: dict[str, Any] = {}
        self.answered: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.ledger = ledger
        self._clock = clock
        self._redact = redact
        self._is_process_started = is_process_started
        self._was_ready = False

    def expect(self, configuration: Configuration) -> None:
        """The configuration from now on; what is known of what stays in it stays known."""
        now = self._clock.now()
        self.stores = {
            name: self.stores.get(name)
            or StoreStanding.at_first(now, needs_login=not isinstance(spec, LocalStore))
            for name, spec in configuration.stores.items()
        }
        self.bundles = {
            name: self.bundles.get(name) or BundleStanding() for name in configuration.bundles
        }

    def __call__(self, event: Event) -> None:
        """Listen. What a reload has taken out may still be heard of, and is not kept."""
        store = self.stores.get(getattr(event, "store", ""))
        bundle = self.bundles.get(getattr(event, "bundle", ""))
        for each in (store, bundle):
            if each is not None:
                each.hear(event, self._clock.now())

    def missing(self) -> list[str]:
        """What readiness waits for: `bundle NAME`, `process`."""
        names = [f"bundle {name}" for name, each in self.bundles.items() if not each.is_published]
        return names if self._is_process_started() else [*names, "process"]

    def is_ready(self) -> bool:
        """Every bundle has been published, and the process was started if there is one."""
        is_ready = not self.missing()
        self._was_ready = self._was_ready or is_ready
        return is_ready

    def is_started(self) -> bool:
        """It was ready once; a bundle that a reload has added does not take that back."""
        return self._was_ready or self.is_ready()

    def summary(self) -> str:
        """One short line: `12 secrets fresh, 1 stale; bundles 3/3`, and what is waited for."""
        counts = Counter(entry.state for entry in self.ledger.entries())
        known = [f"{counts[state]} {state}" for state in State if counts[state]]
        published = sum(each.is_published for each in self.bundles.values())
        parts = [_secrets(known), f"bundles {published}/{len(self.bundles)}"]
        parts += [f"{name}: {each.state}" for name, each in self.stores.items() if each.state != UP]
        if missing := self.missing():
            parts.append(f"waiting for {', '.join(missing)}")
        return "; ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The body of `/status`; never a value."""
        return {
            "stores": {name: self._store_json(each) for name, each in self.stores.items()},
            "secrets": {each.name: self._secret_json(each) for each in self.ledger.entries()},
            "bundles": {name: self._bundle_json(each) for name, each in self.bundles.items()},
            "hardening": self.hardening,
        }

    def _store_json(self, store: StoreStanding) -> dict[str, Any]:
        return {
            "state": store.state,
            "since": self._instant(store.since),
            "reason": self._text(store.reason),
            "logged_in_at": self._instant(store.logged_in_at),
            "token_expires_at": self._instant(store.token_expires_at),
        }

    def _secret_json(self, entry: Entry) -> dict[str, Any]:
        return {
            "version": None if entry.reading is None else entry.reading.version,
            "state": str(entry.state),
            "stale": entry.state in (State.STALE, State.EXPIRED),
            "stale_since": self._instant(entry.stale_since),
            "reason": self._text(entry.reason),
            "read_at": self._instant(entry.read_at),
            "expires_at": self._instant(entry.expires_at),
            "next_at": self._instant(entry.next_at),
            "lease": self._lease_json(entry),
        }

    def _lease_json(self, entry: Entry) -> dict[str, Any] | None:
        """`renewable`: another renewal would give something."""
        if entry.reading is None or entry.reading.lease is None:
            return None
        term = entry.reading.lease.term
        can_renew = term.is_renewable and not term.is_capped
        return {"began_at": self._instant(term.began_at), "renewable": can_renew}

    def _bundle_json(self, bundle: BundleStanding) -> dict[str, Any]:
        return {
            "generation": bundle.generation,
            "state": bundle.state,
            "confirmed_at": self._instant(bundle.confirmed_at),
            "step": bundle.step,
            "reason": self._text(bundle.reason),
        }

    def _instant(self, instant: float | None) -> str | None:
        return None if instant is None else rfc3339(wall_at(self._clock, instant))

    def _text(self, text: str | None) -> str | None:
        return None if text is None else self._redact(text)


def _secrets(known: list[str]) -> str:
    if not known:
        return "no secrets yet"
    number, _, state = known[0].partition(" ")
    return ", ".join([f"{counted(int(number), 'secret')} {state}", *known[1:]])
