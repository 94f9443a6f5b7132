"""Events that are recorded: changes of state, by name, with those of their fields that say what.

No sentence and no reason is recorded: these may hold words of others.
"""

from __future__ import annotations

from typing import Any

from agent.core import events
from agent.core.events import Event

CHANGES: dict[type[Event], tuple[str, tuple[str, ...]]] = {
    events.Started: ("agent_started", ("version", "secrets", "bundles")),
    events.Stopping: ("agent_stopping", ()),
    events.Reloaded: ("configuration_reloaded", ("added", "changed", "removed")),
    events.ReloadRefused: ("configuration_refused", ()),
    events.RefreshAsked: ("refresh_asked", ("secrets",)),
    events.SecretRead: ("secret_changed", ("secret", "version")),
    events.SecretRestored: ("secret_restored", ("secret", "version")),
    events.SecretRefused: ("secret_refused", ("secret", "version", "restored")),
    events.SecretExpired: ("secret_expired", ("secret",)),
    events.LeaseRevoked: ("lease_revoked", ("secret",)),
    events.LeaseLost: ("lease_lost", ("secret",)),
    events.LeasesNotRevoked: ("leases_not_revoked", ("secret", "leases")),
    events.LoggedIn: ("logged_in", ("store", "method")),
    events.TokenResumed: ("token_resumed", ("store",)),
    events.TokenLost: ("token_lost", ("store", "leases")),
    events.TokenRevoked: ("token_revoked", ("store",)),
    events.TokensNotRevoked: ("tokens_not_revoked", ("store", "tokens")),
    events.BundlePublished: (
        "bundle_published",
        ("bundle", "generation", "secrets", "changed_files"),
    ),
    events.BundleConfirmed: ("bundle_confirmed", ("bundle", "generation")),
    events.BundleRolledBack: ("bundle_rolled_back", ("bundle", "generation", "restored")),
    events.BundleRestored: ("bundle_restored", ("bundle", "generation")),
    events.BundleDrilled: ("bundle_drilled", ("bundle", "generation", "outcome")),
    events.ProcessStarted: ("process_started", ("pid",)),
    events.ProcessEnded: ("process_ended", ("pid", "code")),
    events.ListenerOpened: ("listener_opened", ("listener", "protocol")),
    events.ListenerClosed: ("listener_closed", ("listener",)),
    events.ConnectionRefused: ("connections_refused", ("listener", "uid", "limit", "number")),
}


def change(event: Event) -> dict[str, Any] | None:
    """The record of an event; None where it changes nothing that an auditor would ask for."""
    known = CHANGES.get(type(event))
    if known is None or (isinstance(event, events.SecretRead) and not event.is_changed):
        return None
    name, fields = known
    said = {field: getattr(event, field) for field in fields}
    return {"event": "state", "change": name} | {
        field: value for field, value in said.items() if value is not None
    }
