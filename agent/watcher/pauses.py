"""How long a secret waits at most between two failures of its own."""

from __future__ import annotations

from agent.core.errors import Outage, StoreError
from agent.core.lease import FLOOR_SECONDS, Lease

LONGEST_PAUSE = 60.0
LONGEST_PAUSE_AFTER_REFUSAL = 300.0


def longest_pause(error: StoreError, lease: Lease | None, now: float) -> float:
    """After a refusal long, after an outage shorter, and never past a lease's end."""
    if not isinstance(error, Outage):
        return LONGEST_PAUSE_AFTER_REFUSAL
    left = LONGEST_PAUSE if lease is None else lease.term.ends_at - now
    return min(LONGEST_PAUSE, max(left / 4, FLOOR_SECONDS)) if left > 0 else LONGEST_PAUSE
