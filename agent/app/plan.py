"""What a configuration asks of its parts. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agent.config.model import Bundle, Configuration, NotifySignal, SecretEntry
from agent.stores.budget import Demand


def demands(configuration: Configuration) -> dict[str, Demand]:
    """Per store: how many secrets, and how many readings a second keep them fresh."""
    secrets: dict[str, list[SecretEntry]] = {name: [] for name in configuration.stores}
    for entry in configuration.secrets.values():
        secrets[entry.store].append(entry)
    return {
        store: Demand(len(entries), sum(1 / each.refresh_every for each in entries))
        for store, entries in secrets.items()
    }


def longest_handover(bundle: Bundle) -> float:
    """Seconds that a change of this bundle may take from rendering to the app's proof."""
    notify = sum(0.0 if isinstance(each, NotifySignal) else each.timeout for each in bundle.notify)
    validate = 0.0 if bundle.validate is None else bundle.validate.timeout
    confirm = 0.0 if bundle.confirm is None else bundle.confirm.timeout
    return bundle.debounce + validate + notify + confirm


def headrooms(configuration: Configuration, uses: Mapping[str, frozenset[str]]) -> dict[str, float]:
    """Per secret: the longest handover of the bundles that use it."""
    longest = dict.fromkeys(configuration.secrets, 0.0)
    for bundle, secrets in uses.items():
        handover = longest_handover(configuration.bundles[bundle])
        for secret in secrets & longest.keys():
            longest[secret] = max(longest[secret], handover)
    return longest


class Difference(msgspec.Struct, frozen=True):
    """Names of one section: what a new configuration adds, changes and removes."""

    added: frozenset[str]
    changed: frozenset[str]
    removed: frozenset[str]


def difference(old: Mapping[str, object], new: Mapping[str, object]) -> Difference:
    """Compare two sections by value."""
    both = old.keys() & new.keys()
    return Difference(
        added=frozenset(new.keys() - old.keys()),
        changed=frozenset(name for name in both if old[name] != new[name]),
        removed=frozenset(old.keys() - new.keys()),
    )


def is_same_place(old: SecretEntry, new: SecretEntry) -> bool:
    """Whether two entries ask the same of the same store, whatever their policies."""
    return (old.store, old.path, old.data, old.version) == (
        new.store,
        new.path,
        new.data,
        new.version,
    )
