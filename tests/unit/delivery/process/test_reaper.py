"""Orphans that become ours are reaped; our own children keep their exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]

PID_1 = """
import asyncio, ctypes, os, sys
from pathlib import Path
import uvloop
from agent.delivery.process.reaper import at_child_signal, reaping_orphans
from agent.delivery.process.spawn import children, run_command, spawn

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

ENVIRONMENT = {"PATH": os.environ["PATH"]}

def ours():
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()

async def all_gone():
    ended = asyncio.Event()
    with at_child_signal(ended.set):
        while ours():
            await ended.wait()
            ended.clear()

async def main():
    early = await run_command(["sh", "-c", "true & exec true"], environment=ENVIRONMENT, timeout=15)
    with reaping_orphans():
        made = await run_command(
            ["sh", "-c", "for i in 1 2 3; do (read line <go; exit 9) & done; exit 4"],
            environment=ENVIRONMENT, timeout=15)
        own = [spawn(["sh", "-c", f"exit {n}"], environment=ENVIRONMENT)
               for n in range(1, 10)]
        codes = [await child.wait() for child in own]
        assert len(ours()) == 3, "no orphan has come to us: the test shows nothing"
        with open("go", "w") as go:  # held open for those who are slow to open it
            go.write("\\n\\n\\n")
            go.flush()
            async with asyncio.timeout(15):
                await all_gone()
    print(early.code, made.code, codes, children)

(uvloop if sys.argv[1] == "uvloop" else asyncio).run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_orphans_are_reaped_and_own_children_keep_their_codes(tmp_path: Path, loop: str) -> None:
    os.mkfifo(tmp_path / "go")
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", PID_1, loop],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    assert ended.stderr == ""
    assert ended.stdout == "0 4 [1, 2, 3, 4, 5, 6, 7, 8, 9] {}\n"
