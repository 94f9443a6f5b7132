"""Watching a process by its JSON log: proven with a program that says known things."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.rig import agent
from tests.rig.agent import Start

PROGRAM = """
import json, signal, sys
def say(event, **fields):
    print(json.dumps({"event": event, **fields}), file=sys.stderr, flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
signal.signal(signal.SIGHUP, lambda *_: say("reloaded"))
print("not json", file=sys.stderr)
for number in (1, 2):
    say("bundle_published", bundle="app", generation=number)
print("output", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setattr(agent, "COMMAND", (sys.executable, str(tmp_path / "program.py")))


@pytest.mark.usefixtures("program")
async def test_events_are_answered_once_and_in_order(leasehold: Start) -> None:
    running = await leasehold({"stores": {}})
    first = await running.event("bundle_published", bundle="app")
    second = await running.event("bundle_published")
    assert (first["generation"], second["generation"]) == (1, 2)
    assert len(running.all("bundle_published", bundle="app")) == 2
    with pytest.raises(AssertionError, match=r"no bundle_published \{\} in 0.1 s:[^$]*not json"):
        await running.event("bundle_published", within=0.1)
    running.send(signal.SIGHUP)
    await running.event("reloaded")
    done = await running.stop()
    assert (done.code, done.out) == (7, "output")
    with pytest.raises(AssertionError, match="ended before ready"):
        await running.event("ready", within=5)


@pytest.mark.usefixtures("program")
async def test_nothing_is_left_after_a_kill(leasehold: Start) -> None:
    running = await leasehold({"stores": {}})
    await running.event("bundle_published")
    waiting = asyncio.ensure_future(running.event("never", within=5))
    assert (await running.kill()).code == -signal.SIGKILL
    with pytest.raises(AssertionError, match="ended before never"):
        await waiting


@pytest.mark.usefixtures("program")
async def test_the_configuration_is_written_whole(leasehold: Start) -> None:
    file = leasehold.configure({"bundles": {"app": {"directory": "/x"}}})
    assert file == leasehold.file
    assert "format: json" in file.read_text() and "directory: /x" in file.read_text()
