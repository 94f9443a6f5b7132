"""What a unit was given since it was started: every command of one activation gets the same.

systemd loads a unit's credentials again for each command of its start (ExecStartPre=, ExecStart=;
as of 252). An activation is known by the unit's invocation
ID, which systemd keeps in /run/systemd/units while the unit is active. Where that can't be seen (in
a container), an activation is taken to be over `UNSEEN_LASTS` seconds after its last connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from agent.core.clock import Clock
from agent.core.secret import Reading
from agent.ledger import Entry, Ledger

UNITS = Path("/run/systemd/units")
UNSEEN_LASTS = 90.0
LOOK_EVERY = 10.0
"""Seconds between two looks at which units have ended."""


class Activation:
    """One of a unit: what it was given, by secret, as (revision, reading)."""

    def __init__(self, invocation: str | None, now: float) -> None:
        self.invocation, self.used_at = invocation, now
        self.given: dict[str, tuple[int, Reading]] = {}


class Activations:
    """By unit. What was given is held in the ledger, so that its lease lives as long."""

    def __init__(self, listener: str, ledger: Ledger, clock: Clock, units: Path = UNITS) -> None:
        self._listener, self._ledger, self._clock, self._units = listener, ledger, clock, units
        self._by_unit: dict[str, Activation] = {}

    async def run(self) -> None:
        """Let go of what ended units were given; never returns."""
        while True:
            await self._clock.sleep(LOOK_EVERY)
            looked = dict(self._by_unit)
            found = await asyncio.to_thread(self._invocations, list(looked))
            for unit, invocation in found.items():
                if self._by_unit.get(unit) is looked[unit]:  # not started anew meanwhile
                    self._settle(unit, invocation)

    async def begin(self, unit: str) -> None:
        """A unit has connected: what it was given in a former activation counts no more."""
        found = await asyncio.to_thread(self._invocations, [unit])
        self._settle(unit, found[unit])
        now = self._clock.now()
        self._by_unit.setdefault(unit, Activation(found[unit], now)).used_at = now

    def reading(self, unit: str, entry: Entry) -> Reading | None:
        """What the unit gets of this secret: the same again while it works, else the current."""
        activation = self._by_unit.get(unit)
        given = None if activation is None else activation.given.get(entry.name)
        if given is not None and self._ledger.is_alive(entry.name, given[0]):
            return given[1]
        return entry.reading if entry.is_usable else None

    def give(self, unit: str, entry: Entry, reading: Reading) -> None:
        """It was given; if it is the current one, it is held from now on."""
        activation = self._by_unit.get(unit)
        if activation is not None and reading is entry.reading:
            activation.given[entry.name] = (entry.revision, reading)
            self._hold(unit, activation)

    def close(self) -> None:
        """The listener is in the configuration no more.

        Not for the agent's end: units go on with what they were given.
        """
        for unit in list(self._by_unit):
            self._let_go(unit)

    # --- inside -------------------------------------------------------------------------------

    def _settle(self, unit: str, invocation: str | None) -> None:
        activation = self._by_unit.get(unit)
        if activation is None:
            return
        is_same = activation.invocation == invocation
        is_unseen = invocation is None and activation.invocation is None
        if is_unseen:
            is_same = activation.used_at + UNSEEN_LASTS > self._clock.now()
        if not is_same:
            self._let_go(unit)

    def _hold(self, unit: str, activation: Activation) -> None:
        held = {name: (revision,) for name, (revision, _) in activation.given.items()}
        self._ledger.hold(self._consumer(unit), held, is_guest=True)  # a unit says nothing of it

    def _let_go(self, unit: str) -> None:
        if self._by_unit.pop(unit).given:
            self._ledger.release(self._consumer(unit))

    def _consumer(self, unit: str) -> str:
        return f"{self._listener} {unit}"

    def _invocations(self, units: Iterable[str]) -> dict[str, str | None]:
        return {unit: self._invocation(unit) for unit in units}

    def _invocation(self, unit: str) -> str | None:
        """The unit's, or None where there is none to be seen."""
        try:
            return str((self._units / f"invocation:{unit}").readlink())
        except OSError:
            return None
