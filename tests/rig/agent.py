"""The real command as a process of its own: started with a configuration, watched by its log."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rig.processes import die_with_parent

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "agent")
LONGEST_LINE = 1 << 22


@dataclass(frozen=True)
class Done:
    """How a command ended, and all that it said."""

    code: int
    out: str
    err: str


class Leasehold:
    """A running `leasehold`. Log lines that are JSON with an `event` are its events."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pid = process.pid
        self.out: list[str] = []
        self.err: list[str] = []
        self.events: list[dict[str, Any]] = []
        self._taken: set[int] = set()
        self._changed = asyncio.Condition()
        self._readers = [
            asyncio.create_task(self._read(process.stdout, self.out), name="rig: stdout"),
            asyncio.create_task(self._read(process.stderr, self.err), name="rig: stderr"),
        ]

    async def event(self, name: str, *, within: float = 10.0, **fields: Any) -> dict[str, Any]:
        """The next event of this name with these fields that was not answered before."""
        try:
            async with asyncio.timeout(within), self._changed:
                while (found := self._find(name, fields)) is None:
                    assert not self._has_ended(), f"ended before {name} {fields}: {self.story()}"
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"no {name} {fields} in {within:g} s: {self.story()}") from None

    def all(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """Every event of this name with these fields until now."""
        wanted = {"event": name, **fields}
        return [each for each in self.events if wanted.items() <= each.items()]

    def skip(self) -> None:
        """Wait for nothing that was said until now."""
        self._taken.update(range(len(self.events)))

    def story(self) -> str:
        """The last lines of its log, for a failure's message."""
        return "\n" + "\n".join(self.err[-40:])

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def wait(self, *, within: float = 20.0) -> Done:
        """Its own end."""
        try:
            async with asyncio.timeout(within):
                await asyncio.wait(self._readers)
                code = await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"still there after {within:g} s: {self.story()}") from None
        return Done(code, "\n".join(self.out), "\n".join(self.err))

    async def stop(self, *, within: float = 20.0) -> Done:
        """SIGTERM, and the end that follows."""
        self.send(signal.SIGTERM)
        return await self.wait(within=within)

    async def kill(self) -> Done:
        """SIGKILL to it and all that it started, if it is still there."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return await self.wait()

    # --- inside -------------------------------------------------------------------------------

    def _find(self, name: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        wanted = {"event": name, **fields}
        for position, event in enumerate(self.events):
            if position not in self._taken and wanted.items() <= event.items():
                self._taken.add(position)
                return event
        return None

    def _has_ended(self) -> bool:
        return all(reader.done() for reader in self._readers)

    async def _read(self, stream: asyncio.StreamReader | None, lines: list[str]) -> None:
        assert stream is not None
        async for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            async with self._changed:
                lines.append(line)
                self._note(line)
                self._changed.notify_all()
        await self.process.wait()
        async with self._changed:
            self._changed.notify_all()

    def _note(self, line: str) -> None:
        if line.startswith("{"):
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and "event" in event:
                    self.events.append(event)


class Start:
    """Starts `leasehold` in `folder`, where its configuration stands as leasehold.yaml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "leasehold.yaml"
        self.started: list[Leasehold] = []

    def configure(self, configuration: Mapping[str, Any]) -> Path:
        """Write the file (whole, by a rename); the log is JSON unless said otherwise."""
        candidate = self.file.with_suffix(".new")
        log = {"log": {"format": "json", "level": "debug"}}
        candidate.write_text(yaml.safe_dump(log | dict(configuration), sort_keys=False))
        return candidate.replace(self.file)

    async def __call__(
        self,
        configuration: Mapping[str, Any] | None = None,
        command: str = "agent",
        arguments: Sequence[str | Path] = (),
        environment: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Leasehold:
        """`leasehold COMMAND -c FILE ARGUMENTS`; without a configuration, the file as it stands."""
        if configuration is not None:
            self.configure(configuration)
        return await self.command(
            command, "-c", self.file, *arguments, environment=environment, **options
        )

    async def command(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        stdin: int = asyncio.subprocess.DEVNULL,
        within: Sequence[str] = (),
        **options: Any,
    ) -> Leasehold:
        """Any command, as it is; `within` are the words before it, such as `ip netns exec NAME`."""
        basis = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_exec(
            *within,
            *COMMAND,
            *map(str, arguments),
            cwd=self.folder,
            env=basis | dict(environment or {}),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,
            preexec_fn=die_with_parent,
            **options,
        )
        self.started.append(Leasehold(process))
        return self.started[-1]

    async def close(self) -> None:
        """Nothing that was started is left."""
        for each in self.started:
            await each.kill()


@pytest.fixture
async def leasehold(tmp_path: Path) -> AsyncIterator[Start]:
    """`agent = await leasehold({…})`, `await agent.event("ready")`, `await agent.stop()`."""
    start = Start(tmp_path)
    yield start
    await start.close()
