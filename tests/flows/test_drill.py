"""A rotation is rehearsed with the running app: no secret changes, and what came of it is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.rig.agent import Done, Leasehold, Start
from tests.rig.app import Diary, ServedApp
from tests.rig.postgres import MakeDatabase
from tests.rig.scene import Scene, value
from tests.rig.signal_app import SignalApp, own_executable
from tests.rig.waiting import eventually


async def drill(leasehold: Start, *arguments: str) -> Done:
    """The command, beside the agent, at most one a second."""
    while True:
        done = await (await leasehold(command="drill", arguments=("app", *arguments))).wait()
        if not done.err.endswith("at most one drill in 1 s"):
            return done
        await asyncio.sleep(0.2)


def steps(done: Done) -> dict[str, str]:
    """What became of each step, by what the command has shown."""
    shown = [line.split("  ") for line in done.out.splitlines() if line.startswith("  ")]
    return {line[1]: line[-1] for line in shown}


def held(scene: Scene) -> str:
    """What the bundle's file holds now."""
    return (scene.memory / "app/password").read_text()


async def started(
    leasehold: Start, scene: Scene, *, notify: list[Any], confirm: dict[str, Any] | None
) -> Leasehold:
    """An agent with one secret and one bundle, which is ready."""
    scene.kv.put("app", password=value())
    proof = {} if confirm is None else {"confirm": {"timeout": "1s", "every": "50ms", **confirm}}
    bundle = scene.bundle("app", {"password": "{{ app.password }}"}, notify=notify, **proof)
    secret = scene.secret("app", refresh_every="1h")
    agent = await leasehold(scene.configuration(secrets={"app": secret}, bundles={"app": bundle}))
    await agent.event("ready")
    return agent


@pytest.mark.parametrize("proof", ["http", "command", "file"])
async def test_an_app_that_confirms_would_survive(
    leasehold: Start, scene: Scene, proof: str
) -> None:
    socket, diary, app = scene.memory / "app.sock", Diary(scene.folder), ServedApp()
    reloads = scene.folder / "reloaded"
    script = scene.folder / "reload.sh"
    script.write_text(
        f'#!/bin/sh\n{diary.command[0]} "$@" && echo "$LEASEHOLD_GENERATION" > {reloads}\n'
    )
    script.chmod(0o755)
    ways: dict[str, dict[str, Any]] = {
        "http": {"http": f"http+unix:{socket}:/health"},
        "command": {"command": Diary(scene.folder, "proof").command},
        "file": {"file": str(reloads)},
    }
    async with app.on(socket):
        agent = await started(
            leasehold, scene, notify=[{"command": [str(script)]}], confirm=ways[proof]
        )
        before = held(scene)
        done = await drill(leasehold)
        assert (done.code, done.err) == (0, "")
        assert done.out.endswith("\n\napp: its app would have survived a rotation.")
        assert steps(done) == dict.fromkeys(("validate", "publish", "notify", "confirm"), "ok")
        await agent.event("bundle_drilled", generation=2, outcome="survived")
        await agent.stop()
    assert diary.entries() == ["app 2 "]
    assert held(scene) == before and scene.reads("app") == 1
    assert (scene.memory / "app/..data").readlink().name.endswith("2")


async def test_an_app_that_does_not_is_back_at_the_generation_before(
    leasehold: Start, scene: Scene
) -> None:
    socket, diary, app = scene.memory / "app.sock", Diary(scene.folder), ServedApp()
    async with app.on(socket):
        agent = await started(
            leasehold,
            scene,
            notify=[{"command": diary.command}],
            confirm={"http": f"http+unix:{socket}:/health"},
        )
        app.status = 500
        done = await drill(leasehold)
        assert done.code == 1 and "is not known to work now" in done.out
        assert "500" in steps(done)["confirm"] and "500" in steps(done)["confirm again"]
        app.status = 200
        assert diary.entries()[:2] == ["app 2 ", "app 1 "]
        await agent.event("bundle_restored", generation=1)
        async with asyncio.timeout(10):  # the way back is on record a moment later
            while (done := await drill(leasehold)).code != 0:
                assert "refused" in done.err, done
        await agent.stop()


async def test_the_rollback_can_be_proven(leasehold: Start, scene: Scene) -> None:
    diary, proof = Diary(scene.folder), Diary(scene.folder, "proof")
    agent = await started(
        leasehold,
        scene,
        notify=[{"command": diary.command}],
        confirm={"command": proof.command},
    )
    done = await drill(leasehold, "--fail", "confirm", "--json")
    report = json.loads(done.out)
    assert (done.code, report["outcome"]) == (0, "rolled_back")
    assert [each["step"] for each in report["steps"] if not each["ok"]] == ["confirm"]
    assert diary.entries() == ["app 2 ", "app 1 "] and proof.entries()[-1] == "app 1 "
    done = await drill(leasehold, "--fail", "confirm")
    assert done.code == 0 and "the rollback works" in done.out
    assert steps(done)["confirm again"] == "ok"
    assert not agent.all("bundle_failed") and not agent.all("bundle_rolled_back")
    await agent.stop()


async def test_an_app_that_only_gets_a_signal_has_confirmed_nothing(
    leasehold: Start, scene: Scene
) -> None:
    app = SignalApp(own_executable(scene.folder))
    pid_file = scene.folder / "app.pid"
    pid_file.write_text(f"{app.pid}\n")
    try:
        agent = await started(
            leasehold,
            scene,
            notify=[{"signal": "HUP", "pid_file": str(pid_file)}],
            confirm=None,
        )
        done = await drill(leasehold)
        assert done.code == 0 and done.out.endswith("nothing: the bundle has no `confirm`.")
        await eventually(lambda: app.times_told() == 1)
        app.end()
        done = await drill(leasehold)
        assert steps(done)["notify"] == "ok, but nobody is there to be told"
        await agent.stop()
    finally:
        app.end()


async def test_no_credential_is_minted_for_it(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    made, diary = database(ttl="1h", max_ttl="2h"), Diary(scene.folder)
    scene.allow(made.path, "read")
    bundle = scene.bundle(
        "app",
        {"p": "{{ db.username }}"},
        notify=[{"command": diary.command}],
        confirm={"command": Diary(scene.folder, "proof").command, "timeout": "1s"},
    )
    agent = await leasehold(
        scene.configuration(secrets={"db": {"path": made.path}}, bundles={"app": bundle})
    )
    await agent.event("ready")
    leases = made.leases()
    assert (await drill(leasehold)).code == 0
    assert (await drill(leasehold, "--fail", "confirm")).code == 0
    assert made.leases() == leases and len(leases) == 1
    await agent.stop()
    assert not made.leases()


async def test_a_bundle_that_is_not_there_and_an_agent_that_is_not(
    leasehold: Start, scene: Scene
) -> None:
    agent = await started(leasehold, scene, notify=[], confirm=None)
    done = await (await leasehold(command="drill", arguments=("ap",))).wait()
    assert done.code == 2 and done.err.endswith("Error: no bundle of this name: ap")
    await agent.stop()
    done = await drill(leasehold)
    assert done.code == 1 and "is the agent running?" in done.err
