"""The server is gone: at the start, and in the middle."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from tests.rig.agent import Start
from tests.rig.app import ask
from tests.rig.scene import Configuration, Scene, value


def two_secrets(scene: Scene) -> Configuration:
    scene.kv.put("one", password=value())
    scene.kv.put("two", password=value())
    files = {"both": "{{ one.password }} {{ two.password }}"}
    return scene.configuration(
        secrets={"one": scene.secret("one"), "two": scene.secret("two")},
        bundles={"app": scene.bundle("app", files)},
    )


async def test_the_agent_waits_for_a_server_that_is_not_there_yet(
    leasehold: Start, scene: Scene
) -> None:
    await scene.proxy.refuse()
    agent = await leasehold(two_secrets(scene))
    down = await agent.event("store_down")
    assert "Connection refused" in down["message"]
    code, body = await ask(scene.telemetry, "/readyz")
    assert code == 503 and json.loads(body)["missing"] == ["bundle app"]
    code, body = await ask(scene.telemetry, "/livez")
    assert code == 200
    await scene.proxy.start()
    await agent.event("ready", within=3)
    assert (scene.memory / "app/both").exists()
    assert (await agent.stop()).code == 0


async def test_an_outage_keeps_the_files_and_costs_few_requests(
    leasehold: Start, scene: Scene
) -> None:
    agent = await leasehold(two_secrets(scene))
    await agent.event("ready")
    content = (scene.memory / "app/both").read_text()
    scene.proxy.forget()
    went_at = datetime.now(UTC)
    await scene.proxy.refuse()
    await agent.event("store_down")
    status = json.loads((await ask(scene.telemetry, "/status"))[1])
    assert status["stores"]["vault"]["state"] == "down"
    stale = [each for each in status["secrets"].values() if each["stale"]]
    assert stale and all("Connection refused" in each["reason"] for each in stale)
    since = datetime.fromisoformat(stale[0]["stale_since"])
    assert abs((since - went_at).total_seconds()) < 2.5
    fresh = value()
    scene.kv.put("two", password=fresh)
    connections = scene.proxy.connections
    await agent.event("request_done", outcome="outage")
    assert (scene.memory / "app/both").read_text() == content
    await scene.proxy.start()
    back = await agent.event("store_back", within=3)
    assert back["down_seconds"] > 0
    await agent.event("bundle_published", generation=2, within=2)
    assert (scene.memory / "app/both").read_text().endswith(fresh)
    assert scene.logins() == 0, "the token had not ended"
    assert len(scene.proxy.seen) < 15 and scene.proxy.connections - connections < 15
    agent.skip()
    for name in ("one", "two"):
        await agent.event("secret_read", secret=name, within=2)
    status = json.loads((await ask(scene.telemetry, "/status"))[1])
    assert not any(each["stale"] for each in status["secrets"].values())
    await agent.stop()


async def test_told_to_end_without_a_server_it_ends_soon(leasehold: Start, scene: Scene) -> None:
    agent = await leasehold(two_secrets(scene))
    await agent.event("ready")
    await scene.proxy.refuse()
    await agent.event("store_down")
    done = await agent.stop(within=3)
    assert done.code == 0 and "Traceback" not in done.err
