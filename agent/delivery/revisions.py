"""Revisions of secrets, by secret: what a consumer depends on."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Revisions = Mapping[str, int]
"""What one generation is made of."""

Held = Mapping[str, frozenset[int]]
"""What a consumer holds in the ledger."""


def union(*each: Mapping[str, Collection[int]]) -> Held:
    """All of them together."""
    names = {name for held in each for name in held}
    return {name: frozenset[int]().union(*(held.get(name, ()) for held in each)) for name in names}


def ones(revisions: Revisions) -> Held:
    """The same, one revision each."""
    return {name: frozenset({revision}) for name, revision in revisions.items()}
