"""Somebody touches a bundle's directory while nothing rotates: the app has its files again."""

from __future__ import annotations

import signal
from pathlib import Path

import yaml

from tests.rig.agent import Leasehold, Start
from tests.rig.app import Diary
from tests.rig.scene import Scene, value
from tests.rig.waiting import eventually


async def _started(leasehold: Start, scene: Scene, diary: Diary) -> tuple[Leasehold, Path]:
    """An agent that reads its secret once an hour, and the directory of its bundle."""
    bundle = scene.bundle(
        "app",
        {"password": "{{ app.password }}", "user": "me"},
        notify=[{"command": [*diary.command, "{directory}"]}],
    )
    secret = scene.secret("app", refresh_every="1h")
    agent = await leasehold(scene.configuration(secrets={"app": secret}, bundles={"app": bundle}))
    await agent.event("ready")
    return agent, Path(bundle["directory"])


def _has(directory: Path, password: str) -> bool:
    file = directory / "password"
    return file.exists() and file.read_text() == password


async def test_files_that_vanish_are_put_back_and_announced(leasehold: Start, scene: Scene) -> None:
    password, diary = value(), Diary(scene.folder)
    scene.kv.put("app", password=password)
    agent, directory = await _started(leasehold, scene, diary)
    directory.rename(scene.memory / "aside")
    await agent.event("bundle_notified", generation=2)
    assert _has(directory, password)
    (directory / "..data").unlink()
    await agent.event("bundle_notified", generation=3)
    assert _has(directory, password)
    next((directory / "..data").glob("password")).unlink()
    await agent.event("bundle_notified", generation=4)
    assert _has(directory, password)
    await agent.stop()
    assert len(diary.entries()) == 3
    assert scene.reads("app") == 1


async def test_links_and_modes_that_vanish_are_put_back_and_nobody_is_told(
    leasehold: Start, scene: Scene
) -> None:
    password, diary = value(), Diary(scene.folder)
    scene.kv.put("app", password=password)
    agent, directory = await _started(leasehold, scene, diary)
    (directory / "password").unlink()
    await eventually(lambda: _has(directory, password))
    directory.chmod(0o700)
    await eventually(lambda: directory.stat().st_mode & 0o777 == 0o750)
    await agent.stop()
    assert len(agent.all("bundle_published")) == 1
    assert not diary.entries()


async def test_what_stands_in_the_directorys_place_is_said_and_outlived(
    leasehold: Start, scene: Scene
) -> None:
    diary = Diary(scene.folder)
    scene.kv.put("app", password=value())
    agent, directory = await _started(leasehold, scene, diary)
    agent.send(signal.SIGSTOP)
    await eventually(lambda: "State:\tT" in Path(f"/proc/{agent.pid}/status").read_text())
    directory.rename(scene.memory / "aside")
    directory.touch()
    agent.send(signal.SIGCONT)
    await agent.event("bundle_failed", step="publish")
    directory.unlink()
    await agent.event("bundle_notified")
    await agent.stop()
    assert len(diary.entries()) == 1


async def test_a_second_agent_in_the_same_directory_waits_for_the_end_of_the_first(
    leasehold: Start, scene: Scene
) -> None:
    password, diary = value(), Diary(scene.folder)
    scene.kv.put("app", password=password)
    first, directory = await _started(leasehold, scene, diary)
    bundle = scene.bundle("other", {"password": "other"}, directory=str(directory))
    configuration = scene.configuration(bundles={"other": bundle})
    del configuration["telemetry"]
    file = scene.folder / "second.yaml"
    file.write_text(yaml.safe_dump({"log": {"format": "json"}, **configuration}))
    second = await leasehold.command("agent", "-c", file)
    refused = await second.event("bundle_failed", step="publish")
    assert "is used by another agent" in refused["message"]
    assert _has(directory, password)
    await first.stop()
    await second.event("bundle_published")
    assert _has(directory, "other")
