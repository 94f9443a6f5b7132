"""Three servers with raft that are gone for a while: no living credential is lost with them."""

from __future__ import annotations

import asyncio

import pytest

from tests.rig.agent import Start
from tests.rig.clustered import BACK_WITHIN, Clustered
from tests.rig.waiting import eventually

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize("clustered", ["standby"], indirect=True)
async def test_leases_and_tokens_of_the_old_leader_are_renewed_by_the_new_one(
    leasehold: Start, clustered: Clustered
) -> None:
    agent = await leasehold(clustered.configuration(renew_at=0.2))
    await agent.event("ready", within=BACK_WITHIN)
    async with clustered.app.on(clustered.socket):
        leases = clustered.database.leases()
        await clustered.moves(lambda: clustered.cluster.lose(clustered.cluster.leader, "killed"))
        await clustered.moves(clustered.cluster.settle)
        agent.skip()
        for event in ("lease_renewed", "token_renewed"):
            await agent.event(event, within=BACK_WITHIN)
        assert clustered.database.leases() == leases
        await clustered.ends_well(agent)
    assert len(agent.all("logged_in")) == len(agent.all("bundle_published")) == 1


@pytest.mark.parametrize(
    ("clustered", "trouble", "outcome"),
    [("balancer", "sealed", "sealed"), ("standby", "no quorum", "outage")],
    indirect=["clustered"],
)
async def test_a_cluster_that_is_gone_for_a_while_costs_no_credential(
    leasehold: Start, clustered: Clustered, trouble: str, outcome: str
) -> None:
    agent = await leasehold(clustered.configuration(renew_at=0.1))
    await agent.event("ready", within=BACK_WITHIN)
    leases = clustered.database.leases()
    async with clustered.app.on(clustered.socket), asyncio.TaskGroup() as tasks:
        work = tasks.create_task(clustered.app.work(seconds=60, every=0.1))
        if trouble == "sealed":
            await clustered.moves(clustered.cluster.seal)
        else:
            await clustered.loses_quorum()
        failed = {"operation": "renew lease", "outcome": outcome}
        await agent.event("request_done", **failed, within=BACK_WITHIN)
        await clustered.moves(clustered.cluster.repair)
        agent.skip()
        await agent.event("lease_renewed", within=BACK_WITHIN)
        assert clustered.database.leases() == leases
        work.cancel()
        await clustered.ends_well(agent)
    assert len(agent.all("logged_in")) == len(agent.all("bundle_published")) == 1


@pytest.mark.parametrize("clustered", ["standby", "balancer"], indirect=True)
async def test_an_agent_that_starts_without_a_leader_is_ready_soon_after_there_is_one(
    leasehold: Start, clustered: Clustered
) -> None:
    await clustered.loses_quorum()
    agent = await leasehold(clustered.configuration())
    await eventually(lambda: clustered.scene.proxy.seen)
    await clustered.moves(clustered.cluster.repair)
    await agent.event("ready", within=BACK_WITHIN)
    async with clustered.app.on(clustered.socket):
        await clustered.ends_well(agent)


@pytest.mark.parametrize("clustered", ["balancer"], indirect=True)
async def test_a_leader_that_goes_while_it_mints_costs_no_more_than_the_answer(
    leasehold: Start, clustered: Clustered
) -> None:
    agent = await leasehold(clustered.configuration())
    await agent.event("ready", within=BACK_WITHIN)
    async with clustered.app.on(clustered.socket), asyncio.TaskGroup() as tasks:
        work = tasks.create_task(clustered.app.work(seconds=60, every=0.1))
        await clustered.moves(lambda: clustered.cluster.lose(clustered.cluster.leader, "frozen"))
        assert (await (await leasehold(command="refresh", arguments=["db"])).wait()).code == 0
        await agent.event("bundle_confirmed", generation=2, within=BACK_WITHIN)
        await clustered.moves(clustered.cluster.settle)
        await agent.event("lease_revoked", within=BACK_WITHIN)
        work.cancel()
        await clustered.ends_well(agent)
    assert len(agent.all("secret_read", is_changed=True)) == 2
