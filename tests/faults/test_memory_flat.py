"""Memory stays flat over 500 rotations, each with a new value, new files and a notification."""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
from pathlib import Path

import pytest

from agent.core.events import BundleNotified
from tests.rig.agent import Start
from tests.rig.app import ServedApp
from tests.rig.clock import JumpClock
from tests.rig.composed import composed
from tests.rig.scene import Scene, value
from tests.rig.stores import Recorder

WARM, ROTATIONS = 100, 500
BYTES, BLOCKS = 1 << 20, 400
"""What 400 rotations may leave: what allocators do, and less than one small object for each."""


def used() -> tuple[int, int]:
    """By this process: resident bytes, and blocks that Python has allocated."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return resident, sys.getallocatedblocks()


async def notified(clock: JumpClock, events: Recorder) -> None:
    """Let time pass until the app was told; sockets and threads have what real time they need."""
    async with asyncio.timeout(10):
        while not events.all(BundleNotified):
            await clock.advance(0.5)


@pytest.mark.timeout(240)
async def test_500_rotations_leave_nothing_behind(leasehold: Start, scene: Scene) -> None:
    socket = scene.memory / "app.sock"
    notify = [{"http": f"http+unix:{socket}:/reload"}]
    files = {"p": "{{ app.password }}", "app.json": {"format": "json", "secrets": ["app"]}}
    bundle = scene.bundle("app", files, notify=notify, notify_first=True)
    scene.kv.put("app", password=value())
    file = leasehold.configure(
        scene.configuration(secrets={"app": scene.secret("app")}, bundles={"app": bundle})
    )
    clock, events, app = JumpClock(idle_seconds=0.004), Recorder(), ServedApp()
    async with app.on(socket), composed(file, clock, events):
        await events.until(lambda: events.all(BundleNotified))
        for number in range(ROTATIONS):
            if number == WARM:
                before = used()
            scene.kv.put("app", password=(changed := value()))
            for kept in (events, app.asked, scene.proxy.seen):
                kept.clear()
            await notified(clock, events)
            assert (scene.memory / "app/p").read_text() == changed
        after = used()
    assert after[0] - before[0] < BYTES and after[1] - before[1] < BLOCKS, (before, after)
