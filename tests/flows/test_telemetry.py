"""What the agent tells of itself, and what it never tells."""

from __future__ import annotations

import json

from tests.flows.conftest import A_SECRET
from tests.rig.agent import Start
from tests.rig.app import Diary, ask
from tests.rig.faults import DENIED
from tests.rig.postgres import MakeDatabase
from tests.rig.proxy import path
from tests.rig.scene import Scene, value


def samples(text: str) -> dict[str, float]:
    """Values by name and labels, as written."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(number) for name, _, number in lines}


async def test_readiness_status_and_metrics_of_a_rotation(leasehold: Start, scene: Scene) -> None:
    """vault#13602: there was no readiness; vault#24670: no metric of template errors."""
    scene.kv.put("app", password=value())
    lift = scene.proxy.fault(DENIED, path(scene.kv.api("app")))
    diary = Diary(scene.folder)
    bundle = scene.bundle(
        "app", {"password": "{{ app.password }}"}, notify=[{"command": diary.command}]
    )
    agent = await leasehold(
        scene.configuration(secrets={"app": scene.secret("app")}, bundles={"app": bundle})
    )
    await agent.event("secret_stale")
    for probe, code in (("/livez", 200), ("/readyz", 503), ("/startupz", 503)):
        assert (await ask(scene.telemetry, probe))[0] == code
    status = json.loads((await ask(scene.telemetry, "/status"))[1])
    assert status["secrets"]["app"]["state"] == "waiting"
    assert "403" in status["secrets"]["app"]["reason"]
    lift()
    await agent.event("ready")
    scene.kv.put("app", password=value())
    await agent.event("bundle_notified", generation=2)
    for probe in ("/livez", "/readyz", "/startupz"):
        assert (await ask(scene.telemetry, probe))[0] == 200
    status = json.loads((await ask(scene.telemetry, "/status"))[1])
    assert status["stores"]["vault"]["state"] == "up"
    secret = status["secrets"]["app"]
    assert (secret["version"], secret["state"], secret["stale"]) == ("2", "fresh", False)
    assert secret["read_at"] < secret["next_at"]
    app = status["bundles"]["app"]
    assert (app["generation"], app["state"]) == (2, "notified")
    metrics = samples((await ask(scene.telemetry, "/metrics"))[1])
    for name, count in {
        'logins_total{outcome="ok",store="vault"}': 1,
        'secret_reads_total{changed="true"}': 2,
        'notifications_total{bundle="app",outcome="ok"}': 1,
        'bundle_generation{bundle="app"}': 2,
        'store_up{store="vault"}': 1,
        "ready": 1,
    }.items():
        assert metrics[f"leasehold_{name}"] == count, name
    assert metrics['leasehold_secret_read_failures_total{kind="denied"}'] >= 1
    await agent.stop()


async def test_after_a_restart_without_news_it_is_ready(leasehold: Start, scene: Scene) -> None:
    scene.kv.put("app", password=value())
    configuration = scene.configuration(
        secrets={"app": scene.secret("app")},
        bundles={"app": scene.bundle("app", {"password": "{{ app.password }}"})},
    )
    for _ in range(2):
        agent = await leasehold(configuration)
        await agent.event("ready")
        assert (await ask(scene.telemetry, "/readyz"))[0] == 200
        status = json.loads((await ask(scene.telemetry, "/status"))[1])
        assert status["bundles"]["app"]["generation"] == 1
        await agent.stop()


async def test_no_secret_is_in_what_the_agent_tells(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    """Log lines are looked at after every story; these are the doors and the arguments."""
    made, diary = database(ttl="3s", max_ttl="3s"), Diary(scene.folder)
    scene.allow(made.path, "read")
    scene.kv.put("app", password=value())
    scene.kv.annotate("app", owner="team")
    bundle = scene.bundle(
        "app",
        {"all": "{{ app.password }} {{ db.username }} {{ db.password }}"},
        notify=[{"command": [*diary.command, "{bundle}", "{directory}", "{generation}"]}],
        notify_first=True,
    )
    failing = scene.bundle("failing", {"p": "{{ (app.password ~ db.password) | int + 'x' }}"})
    agent = await leasehold(
        scene.configuration(
            secrets={"app": scene.secret("app"), "db": {"path": made.path}},
            bundles={"app": bundle, "failing": failing},
        )
    )
    await agent.event("bundle_failed", bundle="failing")
    await agent.event("bundle_notified", generation=1)
    held = {*(scene.memory / "app/all").read_text().split()}
    await agent.event("bundle_notified", generation=2)
    held |= {*(scene.memory / "app/all").read_text().split()}
    told = [await ask(scene.telemetry, door) for door in ("/status", "/metrics", "/readyz")]
    await agent.stop()
    passwords = {each for each in held if not each.startswith("v-")}
    assert len(passwords) == 3
    everything = "\n".join([*agent.err, *agent.out, *(body for _, body in told), *diary.entries()])
    assert not [each for each in passwords if each in everything]
    assert not A_SECRET.search(everything)
