"""From a value in the agent's hands to one in the book, and back."""

from __future__ import annotations

from collections.abc import Iterable

from agent.config.model import SecretEntry
from agent.core.book import KeptValue, fingerprint
from agent.watcher.holding import Holding

CACHED = "cached"
"""The `kind` of an entry that comes from the book, and that the store has not vouched for yet."""

CACHED_REASON = "from the sealed cache, not proven yet"


def place_of(store: str, spec: SecretEntry) -> str:
    """What decides whether two entries mean the same thing at its origin."""
    return fingerprint(store, spec.path, spec.data, spec.version)


def kept_value(holding: Holding, *, proven_at: float) -> KeptValue:
    """For the next run."""
    return KeptValue.of(
        holding.reading,
        revision=holding.revision,
        read_at=holding.read_at,
        proven_at=proven_at,
        denied_since=holding.denied_since,
    )


def holdings(values: Iterable[KeptValue]) -> list[Holding]:
    """Of the run before."""
    return [
        Holding(
            value.revision,
            value.reading(),
            read_at=value.read_at,
            proven_at=value.proven_at,
            denied_since=value.denied_since,
        )
        for value in values
    ]
