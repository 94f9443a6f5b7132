"""Three servers with raft: whoever leads goes away in the middle of a rotation.

The agent knows one address: a standby's, which answers by itself, forwards, or points to the
leader; or that of a balancer before all three.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.rig.agent import Start
from tests.rig.clustered import BACK_WITHIN, Clustered
from tests.rig.gate import Gate
from tests.rig.waiting import eventually

pytestmark = pytest.mark.timeout(90)


async def rotation(leasehold: Start) -> None:
    """Somebody wants another credential now."""
    assert (await (await leasehold(command="refresh", arguments=["db"])).wait()).code == 0


@pytest.mark.parametrize(
    ("clustered", "step", "how"),
    [
        ("standby", "checking", "killed"),
        ("balancer", "checking", "frozen"),
        ("standby", "confirming", "frozen"),
        ("balancer", "confirming", "killed"),
    ],
    indirect=["clustered"],
)
async def test_the_leader_goes_in_the_middle_of_a_rotation(
    leasehold: Start, clustered: Clustered, how: str, step: str
) -> None:
    """Between mint and publish, or when the app is about to confirm."""
    gate: Gate = getattr(clustered, step)
    agent = await leasehold(clustered.configuration())
    await agent.event("ready", within=BACK_WITHIN)
    await agent.event("bundle_published", generation=1)
    gate.close()
    async with clustered.app.on(clustered.socket), asyncio.TaskGroup() as tasks:
        work = tasks.create_task(clustered.app.work(seconds=60, every=0.1))
        before = gate.arrivals
        await rotation(leasehold)
        await gate.is_reached(before)
        assert len(clustered.database.leases()) == 2
        await clustered.moves(lambda: clustered.cluster.lose(clustered.cluster.leader, how))
        gate.open()
        await agent.event("bundle_confirmed", generation=2)
        await clustered.moves(clustered.cluster.settle)
        await agent.event("lease_revoked", within=BACK_WITHIN)
        assert len(clustered.database.leases()) == 1
        await eventually(lambda: len(clustered.app.users) == 2)
        work.cancel()
        await clustered.ends_well(agent)
    assert len(agent.all("secret_read", is_changed=True)) == 2, "nothing was minted on top"
