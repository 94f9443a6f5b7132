"""A standby that has fallen behind its leader: what it does not know yet is not lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.rig.agent import Start
from tests.rig.clustered import BACK_WITHIN, Clustered
from tests.rig.scene import value
from tests.rig.waiting import eventually

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize("clustered", ["standby"], indirect=True)
async def test_a_credential_made_elsewhere_meanwhile_is_not_taken_for_dead(
    leasehold: Start, clustered: Clustered
) -> None:
    """The standby has never heard of the token nor of the lease: it has to ask its leader."""
    standby = clustered.cluster.standbys[0]
    standby.hears.shut()
    agent = await leasehold(clustered.configuration(renew_at=0.1))
    await agent.event("ready", within=BACK_WITHIN)
    async with clustered.app.on(clustered.socket), asyncio.TaskGroup() as tasks:
        work = tasks.create_task(clustered.app.work(seconds=60, every=0.1))
        leases = clustered.database.leases()
        for _ in range(3):
            await agent.event("request_done", operation="renew lease", within=BACK_WITHIN)
        standby.hears.open()
        agent.skip()
        await agent.event("lease_renewed", within=BACK_WITHIN)
        assert clustered.database.leases() == leases
        work.cancel()
        await clustered.ends_well(agent)
    assert not agent.all("token_lost") and not agent.all("lease_lost")
    assert len(agent.all("logged_in")) == len(agent.all("bundle_published")) == 1


@pytest.mark.parametrize("clustered", ["balancer"], indirect=True)
async def test_a_value_never_goes_back_to_what_a_standby_still_holds(
    leasehold: Start, clustered: Clustered
) -> None:
    """The way to the cluster leads to its leader first, and then to one that is behind."""
    cluster, scene = clustered.cluster, clustered.scene
    scene.kv.put("app", password=(old := value()))
    await eventually(lambda: cluster.serves(scene.kv.api("app")))
    standby = cluster.standbys[0]
    bundle = scene.bundle("kv", {"p": "{{ app.password }}"})
    clustered.balancer.nodes = [cluster.leader]
    agent = await leasehold(
        scene.configuration(secrets={"app": scene.secret("app")}, bundles={"kv": bundle})
    )
    await agent.event("ready", within=BACK_WITHIN)
    file = scene.memory / "kv/p"
    assert file.read_text() == old
    standby.hears.shut()
    scene.kv.put("app", password=(new := value()))
    await eventually(lambda: file.read_text() == new)
    clustered.balancer.nodes = [standby]
    await scene.proxy.drop()
    agent.skip()
    for _ in range(4):
        await agent.event("secret_read", secret="app", within=BACK_WITHIN)
        assert file.read_text() == new
    standby.hears.open()
    assert (await agent.stop()).code == 0
    assert len(agent.all("bundle_published", bundle="kv")) == 2
