"""The real agent on a disk that fills up: said once, no rotation waits for it, and it passes."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.rig.agent import Start
from tests.rig.kept import key_file
from tests.rig.memory import MakeTmpfs
from tests.rig.scene import Scene, value
from tests.rig.waiting import eventually

Change = Callable[[Path], object]


def fill(disk: Path) -> None:
    done = subprocess.run(
        ["dd", "if=/dev/zero", f"of={disk / 'filler'}"], check=False, capture_output=True
    )
    assert b"No space left" in done.stderr


def _shows(file: Path, text: str) -> bool:
    return file.read_text() == text


def empty(disk: Path) -> None:
    (disk / "filler").unlink()


def take_away(disk: Path) -> None:
    (disk / "state").rename(disk / "moved")


def bring_back(disk: Path) -> None:
    (disk / "moved").rename(disk / "state")


@pytest.mark.parametrize(
    ("breaks", "mends", "reason"),
    [
        (fill, empty, "No space left on device"),
        (take_away, bring_back, "No such file or directory"),
    ],
    ids=["full", "gone"],
)
async def test_a_disk_that_fails_costs_the_cache_and_nothing_else(
    leasehold: Start,
    scene: Scene,
    make_tmpfs: MakeTmpfs,
    breaks: Change,
    mends: Change,
    reason: str,
) -> None:
    disk, values = make_tmpfs("size=128k,mode=0755"), [value(), value(), value()]
    scene.kv.put("app", password=values[0])
    cache = {"file": str(disk / "state" / "cache"), "key": {"file": str(key_file(scene.folder))}}
    configuration = scene.configuration(
        secrets={"app": scene.secret("app")},
        bundles={"app": scene.bundle("app", {"password": "{{ app.password }}"})},
        cache=cache,
    )
    agent = await leasehold(configuration)
    await agent.event("bundle_published", generation=1)
    await agent.event("cache_written")

    await asyncio.to_thread(breaks, disk)
    for each in values[1:]:
        scene.kv.put("app", password=each)
        await eventually(partial(_shows, scene.memory / "app" / "password", each))
    failed = await agent.event("cache_failed", is_news=True)
    assert reason in failed["reason"] and failed["level"] == "error"

    await asyncio.to_thread(mends, disk)
    await agent.event("cache_back", within=60)
    assert len(agent.all("cache_failed", is_news=True)) == 1
    assert len(agent.all("cache_failed")) < 10
    await agent.kill()
    again = await leasehold(configuration)
    await again.event("cache_taken_up", secrets=1)
    assert (await again.stop()).code == 0
