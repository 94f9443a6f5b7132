"""Secrets as rendering sees them, without a store."""

from __future__ import annotations

from collections.abc import Mapping

from agent.core.secret import Field, Reading, Secret
from agent.rendering.values import Held


def held(secrets: Mapping[str, Mapping[str, Field]]) -> dict[str, Held]:
    """Fields by secret; the version is 1, nothing expires."""
    return {name: Held(Reading(Secret(fields), "1")) for name, fields in secrets.items()}
