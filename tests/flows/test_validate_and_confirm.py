"""A generation is checked before it is published, and proven by the app after that."""

from __future__ import annotations

from pathlib import Path

from tests.rig.agent import Start
from tests.rig.app import Diary, ServedApp
from tests.rig.scene import Scene, value


async def test_a_candidate_that_is_refused_changes_nothing_until_one_is_good(
    leasehold: Start, scene: Scene
) -> None:
    """consul-template#1060: there was no check before the rename."""
    first, wrong, right = value(), value(), value()
    scene.kv.put("app", password=first)
    check = scene.folder / "check.sh"
    check.write_text(f'#!/bin/sh\ntest -e "$1/password" && ! grep -q {wrong} "$1/password"\n')
    check.chmod(0o755)
    diary = Diary(scene.folder)
    bundle = scene.bundle(
        "app",
        {"password": "{{ app.password }}"},
        validate={"command": [str(check), "{directory}"]},
        notify=[{"command": diary.command}],
    )
    file = Path(bundle["directory"]) / "password"
    agent = await leasehold(
        scene.configuration(secrets={"app": scene.secret("app")}, bundles={"app": bundle})
    )
    await agent.event("ready")
    scene.kv.put("app", password=wrong)
    for _ in range(2):
        failed = await agent.event("bundle_failed", step="validate")
        assert "exit code 1" in failed["reason"]
        assert file.read_text() == first
    scene.kv.put("app", password=right)
    await agent.event("bundle_notified")
    assert file.read_text() == right
    assert len(diary.entries()) == 1
    assert len(agent.all("bundle_published")) == 2
    await agent.stop()


async def test_what_the_app_does_not_confirm_is_taken_back_and_tried_again(
    leasehold: Start, scene: Scene
) -> None:
    first, second = value(), value()
    scene.kv.put("app", password=first)
    app, diary, socket = ServedApp(), Diary(scene.folder), scene.memory / "app.sock"
    bundle = scene.bundle(
        "app",
        {"password": "{{ app.password }}"},
        notify=[{"command": diary.command}],
        confirm={"http": f"http+unix:{socket}:/health", "timeout": "1s", "every": "50ms"},
    )
    file = Path(bundle["directory"]) / "password"
    async with app.on(socket):
        agent = await leasehold(
            scene.configuration(secrets={"app": scene.secret("app")}, bundles={"app": bundle})
        )
        await agent.event("ready")
        app.status = 500
        scene.kv.put("app", password=second)
        back = await agent.event("bundle_rolled_back", generation=2, restored=1)
        app.status = 200
        assert file.read_text() == first
        await agent.event("bundle_confirmed", generation=3)
        assert file.read_text() == second
        await agent.stop()
    assert "/health" in back["reason"]
    assert diary.entries() == ["app 2 ", "app 1 ", "app 3 "]
    assert set(app.asked) == {"GET /health"}


async def test_a_command_may_confirm(leasehold: Start, scene: Scene) -> None:
    scene.kv.put("app", password=value())
    proof, diary = Diary(scene.folder, "proof"), Diary(scene.folder)
    bundle = scene.bundle(
        "app",
        {"password": "{{ app.password }}"},
        notify=[{"command": diary.command}],
        notify_first=True,
        confirm={"command": proof.command, "timeout": "5s", "every": "50ms"},
    )
    proof.fail()
    agent = await leasehold(
        scene.configuration(secrets={"app": scene.secret("app")}, bundles={"app": bundle})
    )
    await agent.event("bundle_notified", generation=1)
    proof.recover()
    await agent.event("bundle_confirmed", generation=1)
    scene.kv.put("app", password=value())
    await agent.event("bundle_confirmed", generation=2)
    await agent.stop()
    assert diary.entries() == ["app 1 ", "app 2 "]
    assert proof.entries()[-1] == "app 2 "
