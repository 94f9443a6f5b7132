"""Fresh reads when somebody asks for them: who rotated a secret need not wait for the agent."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.rig.agent import Done, Leasehold, Start
from tests.rig.postgres import MakeDatabase
from tests.rig.scene import Scene, value
from tests.rig.waiting import eventually


async def refresh(leasehold: Start, *names: str) -> Done:
    """The command, beside the agent."""
    return await (await leasehold(command="refresh", arguments=names)).wait()


def held(scene: Scene, bundle: str) -> str:
    """What its file holds now."""
    return (scene.memory / bundle / "p").read_text()


def seldom(scene: Scene, **sections: Any) -> dict[str, Any]:
    """Two secrets that are read each hour, and a file of each."""
    secrets = {name: scene.secret(name, refresh_every="1h") for name in ("one", "two")}
    bundles = {name: scene.bundle(name, {"p": f"{{{{ {name}.password }}}}"}) for name in secrets}
    return scene.configuration(secrets=secrets, bundles=bundles, **sections)


async def started(leasehold: Start, scene: Scene) -> Leasehold:
    for name in ("one", "two"):
        scene.kv.put(name, password=value())
    agent = await leasehold(seldom(scene))
    await agent.event("ready")
    return agent


async def test_what_was_rotated_is_in_the_file_at_once(leasehold: Start, scene: Scene) -> None:
    agent = await started(leasehold, scene)
    new = value()
    scene.kv.put("one", password=new)
    done = await refresh(leasehold, "one")
    assert (done.code, done.out, done.err) == (0, "reading again: one", "")
    await eventually(lambda: held(scene, "one") == new, within=2)
    assert (await agent.event("refresh_asked"))["secrets"] == ["one"]
    assert (scene.reads("one"), scene.reads("two")) == (2, 1)
    await agent.stop()


async def test_all_are_read_again_and_nothing_new_changes_nothing(
    leasehold: Start, scene: Scene
) -> None:
    agent = await started(leasehold, scene)
    new = value()
    scene.kv.put("two", password=new)
    done = await refresh(leasehold)
    assert (done.code, done.out) == (0, "reading again: one, two")
    await eventually(lambda: held(scene, "two") == new, within=2)
    await agent.event("secret_read", secret="one", is_changed=False)
    await agent.event("bundle_published", bundle="two", generation=2)
    assert agent.all("bundle_published", bundle="one", generation=2) == []
    await agent.stop()


async def test_many_who_ask_cost_one_read_a_second(leasehold: Start, scene: Scene) -> None:
    agent = await started(leasehold, scene)
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(refresh(leasehold, "one")) for _ in range(8)]
    assert [each.result().code for each in asking] == [0] * 8
    await eventually(lambda: scene.reads("one") > 1)
    assert scene.reads("one") <= 2 + loop.time() - began
    await agent.stop()


async def test_a_dynamic_secret_is_minted_anew_and_the_old_one_revoked(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    made = database(ttl="1h", max_ttl="2h")
    scene.allow(made.path, "read")
    bundle = scene.bundle("db", {"p": "{{ db.username }}"})
    agent = await leasehold(
        scene.configuration(secrets={"db": {"path": made.path}}, bundles={"db": bundle})
    )
    await agent.event("ready")
    old = held(scene, "db")
    assert (await refresh(leasehold, "db")).code == 0
    await agent.event("lease_revoked")
    assert held(scene, "db") != old
    await agent.stop()


async def test_a_name_that_the_agent_does_not_know_is_refused(
    leasehold: Start, scene: Scene
) -> None:
    agent = await started(leasehold, scene)
    done = await refresh(leasehold, "one", "three")
    assert done.code == 2 and done.err.endswith("Error: no secret of this name: three")
    assert not agent.all("refresh_asked")
    await agent.stop()


async def test_after_the_agent_has_ended_there_is_nobody(leasehold: Start, scene: Scene) -> None:
    agent = await started(leasehold, scene)
    await agent.stop()
    done = await refresh(leasehold)
    assert done.code == 1 and "is the agent running?" in done.err
