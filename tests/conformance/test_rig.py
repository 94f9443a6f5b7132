"""The rig itself: a tool that lies makes every test that stands on it worthless."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.rig.clock import JumpClock

ROOT = Path(__file__).parents[2]


async def note_after(clock: JumpClock, seconds: float, notes: list[tuple[float, float]]) -> None:
    await clock.sleep(seconds)
    notes.append((seconds, clock.now()))


async def test_sleepers_wake_in_the_order_of_their_deadlines_at_their_own_instant(
    clock: JumpClock,
) -> None:
    start = clock.now()
    notes: list[tuple[float, float]] = []
    async with asyncio.TaskGroup() as group:
        for seconds in (30.0, 10.0, 20.0):
            group.create_task(note_after(clock, seconds, notes))
        await clock.advance(25)
        assert notes == [(10.0, start + 10), (20.0, start + 20)]
        assert clock.now() == start + 25
        await clock.advance(5)
    assert [seconds for seconds, _ in notes] == [10.0, 20.0, 30.0]


async def test_a_sleeper_that_sleeps_again_is_woken_again_within_one_advance(
    clock: JumpClock,
) -> None:
    ticks: list[float] = []

    async def tick() -> None:
        for _ in range(5):
            await clock.sleep(2)
            ticks.append(clock.now())

    task = asyncio.create_task(tick())
    await clock.advance(10)
    assert len(ticks) == 5
    await task


@pytest.mark.parametrize("after", [3.0, None])
async def test_wait_ends_at_the_event_or_at_the_deadline(
    clock: JumpClock, after: float | None
) -> None:
    event = asyncio.Event()
    task = asyncio.create_task(clock.wait(event, clock.now() + 10))
    await clock.advance(3)
    if after is not None:
        event.set()
    await clock.advance(10)
    assert await task is (after is not None)
    assert clock.next_deadline() is None


async def test_wait_can_be_cancelled(clock: JumpClock) -> None:
    task = asyncio.create_task(clock.wait(asyncio.Event(), clock.now() + 10))
    await clock.settle()
    task.cancel()
    await clock.settle()
    assert task.cancelled()
    assert clock.next_deadline() is None


async def test_suspend_wakes_all_that_are_late_at_the_same_instant(clock: JumpClock) -> None:
    start, wall = clock.now(), clock.wall()
    notes: list[tuple[float, float]] = []
    async with asyncio.TaskGroup() as group:
        for seconds in (10.0, 20.0):
            group.create_task(note_after(clock, seconds, notes))
        await clock.suspend(3600)
    assert notes == [(10.0, start + 3600), (20.0, start + 3600)]
    assert clock.wall() == wall + 3600


async def test_the_wall_clock_jumps_alone(clock: JumpClock) -> None:
    now, wall = clock.now(), clock.wall()
    clock.jump_wall(-7200)
    assert (clock.now(), clock.wall()) == (now, wall - 7200)


async def test_run_until_stops_at_the_first_instant_at_which_it_is_so(clock: JumpClock) -> None:
    start = clock.now()
    notes: list[tuple[float, float]] = []
    task = asyncio.create_task(note_after(clock, 42, notes))
    await clock.run_until(lambda: notes, within=100)
    assert clock.now() == start + 42
    await task
    with pytest.raises(AssertionError, match="not so within 5 s"):
        await clock.run_until(lambda: len(notes) > 1, within=5)


async def test_settling_waits_for_threads(clock: JumpClock) -> None:
    done: list[int] = []

    async def work() -> None:
        for number in range(3):
            await asyncio.to_thread(time.sleep, 0.01)
            done.append(number)

    task = asyncio.create_task(work())
    await clock.settle()
    assert done == [0, 1, 2]
    await task


GUARDED = """
import asyncio, pytest
from pathlib import Path
import agent

FILE = Path(agent.__file__).parent / "x.py"
BLOCKS = compile("import os\\ndef stat(): os.stat('/')", FILE, "exec")

async def test_blocks():
    names = {}
    exec(BLOCKS, names)
    names["stat"]()

async def test_blocks_in_a_thread():
    names = {}
    exec(BLOCKS, names)
    await asyncio.to_thread(names["stat"])

async def test_leaks():
    globals()["kept"] = asyncio.create_task(asyncio.Event().wait(), name="forgotten")

def test_skips():
    pytest.skip("no such thing here")
"""


def guarded_run(folder: Path, **environment: str) -> str:
    """The output of a pytest run of GUARDED under this project's conftest."""
    (folder / "test_guarded.py").write_text(GUARDED)
    options = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", ROOT, folder],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def test_blocking_calls_leaked_tasks_and_skips_in_ci_fail(tmp_path: Path) -> None:
    output = guarded_run(tmp_path, CI="true")
    assert "BlockingError: Blocking call to os.stat" in output
    assert "tasks left over: ['forgotten']" in output
    assert "skipped under CI, where nothing may be missing: Skipped: no such thing here" in output
    assert "2 failed, 2 passed, 1 error" in output


def test_a_skip_outside_ci_is_a_skip(tmp_path: Path) -> None:
    assert "1 failed, 2 passed, 1 skipped, 1 error" in guarded_run(tmp_path, CI="")
