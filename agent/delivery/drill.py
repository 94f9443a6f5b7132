"""What a rehearsal of a rotation has shown."""

from __future__ import annotations

import msgspec


class DrillStep(msgspec.Struct, frozen=True):
    """One step of the transaction, `ok` or why not."""

    step: str
    seconds: float
    ok: bool
    reason: str | None = None


class DrillReport(msgspec.Struct, frozen=True):
    """What became of generation `generation`.

    `outcome`: `survived` (the app uses it), `rolled_back` (the one before was put back, and the app
    uses that again) or `failed` (neither is known).
    """

    bundle: str
    generation: int
    outcome: str
    steps: list[DrillStep]
