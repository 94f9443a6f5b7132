"""What a rehearsal of a rotation has shown."""

from __future__ import annotations

import asyncio

import msgspec

from agent.delivery.transaction import Step

SHOWN = {
    Step.VALIDATING: "validate",
    Step.PUBLISHING: "publish",
    Step.NOTIFYING: "notify",
    Step.CONFIRMING: "confirm",
    Step.RESTORING: "restore",
    Step.NOTIFYING_AGAIN: "notify again",
    Step.CONFIRMING_AGAIN: "confirm again",
}
"""What a report calls the steps; the others are not worth a line."""


class DrillStep(msgspec.Struct, frozen=True):
    """One step of the transaction, `ok` or why not; what is `ok` may have a remark."""

    step: str
    seconds: float
    ok: bool
    reason: str | None = None


class DrillReport(msgspec.Struct, frozen=True):
    """What became of generation `generation`.

    `outcome`: `survived` (the app uses it), `rolled_back` (the one before was put back, and the app
    uses that again) or `failed` (neither is known, or nothing was published).
    """

    bundle: str
    generation: int
    outcome: str
    steps: list[DrillStep]


class Wish:
    """A drill that somebody asked for and waits for. `fail`: a step that is taken as failed."""

    def __init__(self, fail: str | None) -> None:
        self.fail = fail
        self.steps: list[DrillStep] = []
        self.remark: str | None = None
        self._report: asyncio.Future[DrillReport] = asyncio.get_running_loop().create_future()
        self._report.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def report(self) -> DrillReport:
        """Once it is over; an asker who goes away ends nothing half-way."""
        return await asyncio.shield(self._report)

    def took(self, step: Step, seconds: float, reason: str | None = None) -> None:
        """A step is over; `reason` why it failed."""
        if step in SHOWN:
            remark, self.remark = self.remark, None
            is_ok = reason is None
            self.steps.append(DrillStep(SHOWN[step], seconds, is_ok, remark if is_ok else reason))

    def answer(self, answer: DrillReport | Exception) -> None:
        """Tell who waits."""
        if self._report.done():
            return
        if isinstance(answer, Exception):
            self._report.set_exception(answer)
        else:
            self._report.set_result(answer)
