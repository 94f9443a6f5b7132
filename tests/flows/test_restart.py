"""The agent comes back: what happened while it was away is told, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig.agent import Leasehold, Start
from tests.rig.app import Diary
from tests.rig.scene import Scene, value


@pytest.fixture
def diary(scene: Scene) -> Diary:
    return Diary(scene.folder)


async def started(leasehold: Start, scene: Scene, diary: Diary, **changed: Any) -> Leasehold:
    """An agent with one secret and one bundle, ready; its app keeps the diary."""
    bundle = scene.bundle(
        "app", {"password": "{{ app.password }}"}, notify=[{"command": diary.command}], **changed
    )
    agent = await leasehold(
        scene.configuration(secrets={"app": scene.secret("app")}, bundles={"app": bundle})
    )
    await agent.event("ready")
    return agent


async def test_the_first_generation_is_not_announced(
    leasehold: Start, scene: Scene, diary: Diary
) -> None:
    scene.kv.put("app", password=value())
    agent = await started(leasehold, scene, diary)
    await agent.event("secret_read", is_changed=False)
    await agent.stop()
    assert not diary.entries()


async def test_the_first_generation_is_announced_where_that_is_wanted(
    leasehold: Start, scene: Scene, diary: Diary
) -> None:
    scene.kv.put("app", password=value())
    agent = await started(leasehold, scene, diary, notify_first=True)
    await agent.event("bundle_notified", generation=1)
    await agent.stop()
    again = await started(leasehold, scene, diary, notify_first=True)
    await again.event("secret_read", is_changed=False)
    await again.stop()
    assert diary.entries() == ["app 1 "]


async def test_an_unchanged_value_is_no_news_after_a_restart(
    leasehold: Start, scene: Scene, diary: Diary
) -> None:
    scene.kv.put("app", password=value())
    await (await started(leasehold, scene, diary)).stop()
    before = (scene.memory / "app/..data").readlink()
    agent = await started(leasehold, scene, diary)
    await agent.event("bundle_current", generation=1)
    await agent.event("secret_read", is_changed=False)
    await agent.stop()
    assert (scene.memory / "app/..data").readlink() == before
    assert not diary.entries() and not agent.all("bundle_published")


async def test_a_rotation_during_the_downtime_reloads_the_app_infisical_cli_340(
    leasehold: Start, scene: Scene, diary: Diary
) -> None:
    """Infisical cli#340: the app was never told."""
    scene.kv.put("app", password=value())
    await (await started(leasehold, scene, diary)).stop()
    changed = value()
    scene.kv.put("app", password=changed)
    agent = await started(leasehold, scene, diary)
    await agent.event("bundle_notified", generation=2)
    await agent.stop()
    assert (scene.memory / "app/password").read_text() == changed
    assert diary.entries() == ["app 2 "]


async def test_killed_between_publish_and_notify_it_tells_the_app_after_the_restart(
    leasehold: Start, scene: Scene, diary: Diary
) -> None:
    scene.kv.put("app", password=value())
    agent = await started(leasehold, scene, diary)
    diary.fail()
    scene.kv.put("app", password=value())
    await agent.event("bundle_published", generation=2)
    await agent.event("bundle_failed", step="notify")
    await agent.kill()
    before = diary.entries()
    diary.recover()
    again = await started(leasehold, scene, diary)
    await again.event("bundle_notified", generation=2)
    await again.event("secret_read", is_changed=False)
    await again.stop()
    assert diary.entries() == [*before, "app 2 "] and set(before) == {"app 2 "}
    assert not again.all("bundle_published")
