"""What must hold of a cell, and what happened in it in a few words."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from agent.stores.vault.replies import MAX_BODY
from tests.faults.matrix.cells import Cell, Operation, Phase
from tests.faults.matrix.plant import Plant
from tests.faults.matrix.strike import Strike
from tests.rig.proxy import Seen

MOST_REQUESTS = 60
"""Of all kinds while a fault lasts: a read of `kv` each second, and what the fault makes of it."""

MOST_MEMORY_MIB = 64.0
"""Resident in the end, whatever the fault was; and at any time, but for a huge answer."""

HUGE_MIB = 2 * MAX_BODY / (1 << 20)
"""On top of that, for a moment: both secrets may be sent more than anybody takes."""

LOOKS = 100
"""At what is left: OpenBao ends the leases of a token after it has said that it will."""

SOCKET_BUFFERS = 16 << 20

OPERATION_WORDS = {
    Operation.LOGIN: ("log in",),
    Operation.TOKEN_RENEWAL: ("renew token",),
    Operation.PREFLIGHT: ("preflight",),
    Operation.READ: ("read",),
    Operation.LEASE_RENEWAL: ("renew lease",),
    Operation.REVOKE: ("revoke lease", "revoke token"),
}
"""As the agent's own events name them."""

GOOD = ("published", "confirmed")


@dataclass
class Life:
    """A cell in the making. `before` is whom the app worked as before a rotation was asked for."""

    plant: Plant
    strike: Strike
    before: str = ""
    recovery: float = 0.0
    ended_at: float = 0.0

    @property
    def cell(self) -> Cell:
        return self.plant.cell

    @property
    def must_fail(self) -> bool:
        """The operation can't succeed while the fault lasts."""
        return self.cell.fault != "slow"

    async def end(self) -> None:
        """The fault ends, and the time that the agent has to be whole begins."""
        await self.strike.end()
        self.ended_at = time.monotonic()
        self.recovery = self.cell.recovery(len(self.strike.hits))

    def left(self) -> float:
        return max(0.0, self.ended_at + self.recovery - time.monotonic())

    def check(self, holds: object, what: str) -> None:
        """AssertionError with the agent's own story, if it does not hold."""
        if not holds:
            raise AssertionError(f"{self.cell}: {what}{self.plant.agent.story()}")

    def lost(self, operation: Operation) -> list[Seen]:
        """The server did what it was asked, and the agent could not know."""
        return [seen for seen in self.plant.asked(operation) if seen.is_lost]


# --- while the agent runs -------------------------------------------------------------------------


async def is_whole(life: Life) -> str | None:
    """None, or what is not as it should be."""
    here = life.plant
    status = await here.status()
    if (wrong := _standing(status) or _delivered(life)) is not None:
        return wrong
    if (wrong := _done_again(life)) is not None:
        return wrong
    wanted = 1 + _lost_leases(life) + len(here.agent.all("lease_left"))
    leases = await here.leases()
    return None if len(leases) == wanted else f"{len(leases)} leases, where {wanted} are in use"


def _standing(status: dict[str, Any]) -> str | None:
    for name, store in status["stores"].items():
        if store["state"] != "up":
            return f"store {name} is {store['state']}: {store['reason']}"
    for name, secret in status["secrets"].items():
        if secret["state"] != "fresh":
            return f"secret {name} is {secret['state']}: {secret['reason']}"
    for name, bundle in status["bundles"].items():
        if bundle["state"] not in GOOD or bundle["step"] is not None:
            return f"bundle {name} is {bundle['state']}: {bundle['reason']}"
    return None


def _delivered(life: Life) -> str | None:
    """What the cell's operation was for has been reached."""
    here, cell = life.plant, life.cell
    directory = here.scene.memory / "app"
    if (directory / "note").read_text() != here.value:
        return "the app has an old value of kv"
    if here.app.user != (directory / "credential").read_text().split()[0]:
        return "the app has another credential than its file"
    if life.before and here.app.user == life.before:
        return "the credential was not replaced"
    if here.app.user not in here.app.users:
        return "the app has not worked with its credential yet"
    if (cell.operation, cell.phase) == (Operation.PREFLIGHT, Phase.STEADY):
        return None if (here.scene.memory / "extra/p").exists() else "the new bundle is not there"
    if cell.operation is Operation.LOGIN and not _logins(life) >= _wanted_logins(cell):
        return "not logged in with the new credential"
    ending, revoked = (len(here.agent.all(name)) for name in ("token_ending", "token_revoked"))
    return None if revoked >= ending else "leases have not moved to the new token"


def _done_again(life: Life) -> str | None:
    """The operation itself has worked since; where it was refused, something else was done."""
    words = OPERATION_WORDS[life.cell.operation]
    asked = [each for each in life.plant.agent.all("request_done") if each["operation"] in words]
    is_done = life.cell.is_refusal or (asked and asked[-1]["outcome"] == "ok")
    return None if is_done else f"{' or '.join(words)} has not worked again"


def _logins(life: Life) -> int:
    return len(life.plant.agent.all("logged_in"))


def _wanted_logins(cell: Cell) -> int:
    return 1 if cell.operation is not Operation.LOGIN or cell.phase is Phase.START else 2


def _lost_leases(life: Life) -> int:
    """Made for an answer that did not arrive: they end with their token."""
    paths = [database.path for database in life.plant.databases]
    return sum(seen.path in paths for seen in life.lost(Operation.READ))


# --- when it is whole -----------------------------------------------------------------------------


async def judge(life: Life) -> str:
    """What happened; AssertionError if that is not what should."""
    here = life.plant
    _check_requests(life)
    _check_memory(life)
    happened, denied = outcome(life), len(here.app.denied)  # at the end it is denied, rightly
    done = await here.agent.stop()
    life.check(done.code == 0 and "Traceback" not in done.err, f"ended with {done.code}")
    life.check(here.app.logins, "the app has never logged in")
    life.check(not denied, f"{denied} of the app's {here.app.logins} logins were denied")
    await _check_nothing_is_left(life)
    return happened


def _check_requests(life: Life) -> None:
    """No hot loop: neither as the proxy saw it, nor as the agent itself counts."""
    cell, strike, agent = life.cell, life.strike, life.plant.agent
    tries, all_of_them = len(strike.hits), len(strike.meanwhile)
    life.check(tries <= cell.most_tries + _ordinary(life), f"{tries} requests met the fault")
    life.check(all_of_them <= MOST_REQUESTS, f"{all_of_them} requests while the fault lasted")
    words = OPERATION_WORDS[cell.operation]
    failed = [each for each in agent.all("request_done") if each["operation"] in words]
    failed = [each for each in failed if each["outcome"] != "ok"]
    most = cell.most_tries + _ordinary(life)
    life.check(len(failed) <= most, f"{len(failed)} requests failed")
    for seen in strike.hits:
        life.check(seen.sent <= MAX_BODY + SOCKET_BUFFERS, f"{seen.sent} bytes of an answer taken")


def _check_memory(life: Life) -> None:
    resident, peak = (life.plant.memory_mib(each) for each in ("VmRSS", "VmHWM"))
    most = MOST_MEMORY_MIB + (HUGE_MIB if life.cell.fault == "huge" else 0.0)
    life.check(resident <= MOST_MEMORY_MIB, f"{resident:.0f} MiB of memory in the end")
    life.check(peak <= most, f"{peak:.0f} MiB of memory at its peak")


def _ordinary(life: Life) -> int:
    """`kv` is read each second, faults or not."""
    return 20 if life.cell.operation is Operation.READ else 0


async def _check_nothing_is_left(life: Life) -> None:
    """The vault has no lease of this agent any more, and no token that it knew of."""
    here = life.plant
    leases = await here.leases()
    for _ in range(LOOKS):
        if not leases:
            break
        await asyncio.sleep(0.1)
        leases = await here.leases()
    life.check(not leases, f"{len(leases)} leases are left")
    tokens = await asyncio.to_thread(here.scene.tokens)
    lost = len(life.lost(Operation.LOGIN))
    life.check(len(tokens) <= lost, f"{len(tokens)} tokens are left, {lost} were lost on their way")


def outcome(life: Life) -> str:
    """What the agent did about it, beyond trying again: one line of a table."""
    here, cell = life.plant, life.cell
    words = ["ok"]
    if _logins(life) > _wanted_logins(cell):
        words.append("new token")  # and whether a lease has moved by now is chance
    elif len(here.app.users) > (2 if life.before else 1):
        words.append("new credential")
    if here.agent.all("lease_left"):
        words.append("left to its token")
    return ", ".join(words)
