"""Which cells there are, and what each is measured by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tests.rig import faults
from tests.rig.faults import Cut, Delay, Fault, Hang, Reset

STORE_TIMEOUT = 2.0
"""Seconds after which the agent waits no longer for an answer (`timeout` of its store)."""

FAULTS: dict[str, Fault] = {
    "refused": Reset(is_asked=False),  # and from then on nobody listens
    "hang": Hang(),
    "slow": Delay(0.6 * STORE_TIMEOUT),
    "reset": Reset(body_bytes=20),
    "429": faults.rate_limited(1),
    "500": faults.BROKEN,
    "503": faults.SEALED,
    "403": faults.DENIED,
    "wrong-json": faults.WRONG_JSON,
    "truncated": Cut(20),
    "huge": faults.HUGE,
}


class Operation(StrEnum):
    """What the agent asks a vault."""

    LOGIN = "login"
    TOKEN_RENEWAL = "token-renewal"
    PREFLIGHT = "preflight"
    READ = "read"
    LEASE_RENEWAL = "lease-renewal"
    REVOKE = "revoke"


class Phase(StrEnum):
    """When it meets the fault."""

    START = "start"
    STEADY = "steady"
    ROTATION = "rotation"


@dataclass(frozen=True)
class Cell:
    """One fault on one operation in one phase."""

    fault: str
    operation: Operation
    phase: Phase

    def __str__(self) -> str:
        return f"{self.fault}-{self.operation}-{self.phase}"

    @property
    def is_refusal(self) -> bool:
        """The fault is an answer: it is not asked for again, and something else is done instead.

        A vault that forbids a renewal is asked for a new token, or a new credential; one that
        forbids to revoke is left to end leases with their token.
        """
        renewals = (Operation.TOKEN_RENEWAL, Operation.LEASE_RENEWAL, Operation.REVOKE)
        return self.fault == "403" and self.operation in renewals

    @property
    def tries(self) -> int:
        """The requests that a fault must have met: several, where a failed one is made again."""
        return 1 if self.fault in ("slow", "refused") or self.is_refusal else 2

    @property
    def most_tries(self) -> int:
        """Of the operation while the fault lasts: what the backoffs allow, and chance adds.

        With full jitter a pause is half of its ceiling on average. The ceiling is 1 s and doubles;
        but for a token it is a twentieth of its life, so that it is not lost over a short trouble.
        """
        return 24 if self.operation is Operation.TOKEN_RENEWAL else 14

    def recovery(self, tries: int) -> float:
        """Seconds after the fault's end in which all is well: one pause, and no more.

        A store that can't be had is looked at every 2.7 s while its outage is young. A failure of
        one path alone is followed by a pause below 2ⁿ⁻¹ s after n tries, below a ceiling.
        """
        ceiling = CEILINGS[self.operation][self.fault == "403"]
        is_fixed = self.is_refusal or self.operation is Operation.REVOKE
        pause = ceiling if is_fixed else min(ceiling, 2.0 ** max(tries - 1, 0))
        return max(SHORT_OUTAGE, pause) + LATITUDE


FAULT_SECONDS = 3.0
"""How long a fault lasts after its first hit, at least."""

SHORT_OUTAGE = 3.0
LATITUDE = 5.0
"""Seconds for the work itself on a machine that has much else to do."""

TTL = 24
"""Of a token or a lease that is to be renewed within a cell.

A third of it is left when it is due: longer than a fault lasts, and the pause after that.
"""

CEILINGS: dict[Operation, tuple[float, float]] = {
    Operation.LOGIN: (15.0, 300.0),
    Operation.TOKEN_RENEWAL: (1.0, TTL),
    Operation.PREFLIGHT: (60.0, 300.0),
    Operation.READ: (60.0, 300.0),
    Operation.LEASE_RENEWAL: (TTL / 4, TTL),
    Operation.REVOKE: (10.0, 10.0),
}
"""Of the pause after a failure; the second one is for what the vault has refused."""

CELLS = [
    Cell(fault, operation, phase) for fault in FAULTS for operation in Operation for phase in Phase
]
