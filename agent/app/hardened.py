"""How a hardened process is told of: an event at the start, a part of `/status`."""

from __future__ import annotations

from typing import Any

from agent.core.events import ProcessHardened
from agent.hardening import Hardened


def told_of(hardening: Hardened) -> ProcessHardened:
    """For the log: all in one line; what somebody must see is a warning besides."""
    return ProcessHardened(
        in_force=[each.name for each in hardening.protections if each.is_in_force],
        missing=[str(each) for each in hardening.protections if not each.is_in_force],
    )


def as_json(hardening: Hardened) -> dict[str, Any]:
    """By name."""
    return {
        each.name: {"in_force": each.is_in_force, "reason": each.reason}
        for each in hardening.protections
    }
