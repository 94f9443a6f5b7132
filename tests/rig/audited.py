"""An audit in a folder, and the lines that it has written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.api.caller import Caller
from agent.audit.file import ChainedFile
from agent.audit.reading import verified
from agent.audit.record import Access, Callers, Stamped, access
from agent.audit.verify import Verdict
from agent.audit.writer import Audit
from agent.config.model import Audit as Spec
from agent.core.clock import Clock, SystemClock
from agent.core.events import Event

APP = Caller(uid=1000, gid=1000, pid=77, executable="/usr/bin/app", unit="app.service")


def spec_of(folder: Path, **options: Any) -> Spec:
    return Spec(file=folder / "audit.jsonl", **options)


def opened(spec: Spec, clock: Clock | None = None) -> ChainedFile:
    """The file alone, ready to be written to."""
    assert spec.file is not None
    file = ChainedFile(spec, spec.file, clock or SystemClock())
    file.open()
    return file


def stamped(number: int) -> Stamped:
    record = Access("secrets", "database", version=str(number), decision="allowed", rule=1)
    who = Callers().encoded(APP)
    return Stamped(1.7e9 + number, float(number), access(who, f"{number:016x}", "GET", record, 200))


def written(spec: Spec, runs: Sequence[Sequence[int]], *, clock: Clock | None = None) -> None:
    """Runs of an agent that ended in order, each of writings of so many records."""
    number = 0
    for run in runs:
        file = opened(spec, clock)
        file.keep_head()
        for size in run:
            file.write([stamped(number + each) for each in range(size)])
            number += size
        file.keep_head(is_closed=True)
        file.close()


def verdict_on(spec: Spec) -> Verdict:
    assert spec.file is not None
    key = spec.key.file if spec.key else spec.file.with_name(f"{spec.file.name}.key")
    return verified(spec.file, key)


async def proven(spec: Spec) -> Verdict:
    """The verdict, without holding up the loop."""
    return await asyncio.to_thread(verdict_on, spec)


class Audited:
    """An `Audit` whose answers and events are kept."""

    def __init__(self, spec: Spec, clock: Clock) -> None:
        self.events: list[Event] = []
        self.audit = Audit(spec, clock=clock, emit=self.events.append)

    async def ask(self, *names: str) -> list[bool]:
        """Append a record for each, in one turn of the loop, and wait for all answers."""
        answers: list[bool] = []
        came = asyncio.Event()

        def done(is_written: bool) -> None:
            answers.append(is_written)
            if len(answers) == len(names):
                came.set()

        who = Callers().encoded(APP)
        for name in names:
            record = Access("secrets", name, decision="allowed", rule=1)
            self.audit.append(access(who, "0123456789abcdef", "GET", record, 200), done)
        async with asyncio.timeout(20):
            await came.wait()
        return answers

    def told(self, kind: type[Event]) -> list[Event]:
        return [each for each in self.events if type(each) is kind]
