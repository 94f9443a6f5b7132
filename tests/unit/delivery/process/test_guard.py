"""An agent that is killed takes its child along."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from agent.delivery.process.guard import Guard
from agent.delivery.process.spawn import spawn
from tests.rig.descriptors import open_descriptors
from tests.rig.reports import end_of, reports

RUNS_ON_EVERY_LOOP = True
ROOT = Path(__file__).parents[4]

STOPS_IN_ORDER = """
exec 8<>"$NEVER"
trap 'echo bye >"$REPORTS"; exit 0' TERM
sh -c 'echo helper $$ >"$REPORTS"; exec sleep 60' &
echo child $$ >"$REPORTS"
while :; do read line <&8; done
"""
CLOSES_ALL = "import os, sys; os.closerange(3, 1000); os.execvp('sh', ['sh', '-c', sys.argv[1]])"


@pytest.mark.parametrize(
    "command",
    [["sh", "-c"], [sys.executable, "-c", CLOSES_ALL]],
    ids=["inheriting", "closing-all-descriptors"],
)
async def test_a_killed_agent_has_its_childs_group_told_by_the_kernel(
    tmp_path: Path, command: list[str]
) -> None:
    os.mkfifo(tmp_path / "never")
    with reports(tmp_path) as told:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment |= {"REPORTS": str(told.path), "NEVER": str(tmp_path / "never")}
        agent = [sys.executable, "-m", "tests.rig.supervised", "asyncio", *command, STOPS_IN_ORDER]
        async with spawn(agent, environment=environment, stderr=told.fd) as killed:
            pids: dict[str, int] = {}
            while len(pids) < 3:  # the third is the agent's word that the guard stands
                if (line := await told.next()).strip():
                    who, *_, pid = line.rstrip(")").split()
                    pids[who] = int(pid)
            killed.signal(signal.SIGKILL)
            assert await killed.wait() == 128 + signal.SIGKILL
        await told.skip_to("bye")
        await end_of(pids["child"])
        await end_of(pids["helper"])


async def test_a_guard_that_is_put_away_says_nothing_and_leaves_no_descriptor() -> None:
    before = open_descriptors()
    guard = Guard()
    async with spawn(
        ["sleep", "60"], environment=dict(os.environ), pass_fds=[guard.inherited]
    ) as child:
        with guard:
            guard.arm(child.pid, signal.SIGTERM)
        child.signal(signal.SIGINT)
        assert await child.wait() == 128 + signal.SIGINT
    assert open_descriptors() == before
