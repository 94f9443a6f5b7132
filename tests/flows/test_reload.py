"""The configuration changes while the agent runs: what is the same goes on undisturbed."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.rig.agent import Leasehold, Start
from tests.rig.app import Diary, ask
from tests.rig.postgres import MakeDatabase
from tests.rig.scene import Configuration, Scene, value
from tests.rig.waiting import eventually


def files_of(name: str) -> Configuration:
    return {"password": f"{{{{ {name}.password }}}}"}


async def running(leasehold: Start, configuration: Configuration) -> Leasehold:
    agent = await leasehold(configuration)
    await agent.event("ready")
    return agent


async def test_what_is_the_same_is_not_read_written_or_told(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    """vault-k8s#278, vault#11030: nothing may be issued anew for want of a reason."""
    made, diary = database(ttl="1h"), Diary(scene.folder)
    scene.allow(made.path, "read")
    for name in ("stays", "leaves", "moves", "moved", "comes"):
        scene.kv.put(name, password=value())
    notify = [{"command": diary.command}]
    secrets = {
        name: scene.secret(name, refresh_every="1h") for name in ("stays", "leaves", "moves")
    }
    secrets["db"] = {"path": made.path}
    bundles = {name: scene.bundle(name, files_of(name), notify=notify) for name in secrets}
    agent = await running(leasehold, scene.configuration(secrets=secrets, bundles=bundles))
    before = {name: (scene.memory / name / "password").stat() for name in ("stays", "db")}
    scene.proxy.forget()

    del secrets["leaves"], bundles["leaves"]
    secrets["moves"] = scene.secret("moved", refresh_every="1h")
    secrets["comes"] = scene.secret("comes", refresh_every="1h")
    secrets["stays"]["max_stale"] = "2h"
    bundles["comes"] = scene.bundle("comes", files_of("comes"), notify=notify)
    leasehold.configure(scene.configuration(secrets=secrets, bundles=bundles))
    reloaded = await agent.event("reloaded")
    assert reloaded["added"] == ["bundle comes", "secret comes"]
    assert reloaded["changed"] == ["secret moves", "secret stays"]
    assert reloaded["removed"] == ["bundle leaves", "secret leaves"]
    await agent.event("bundle_published", bundle="comes", generation=1)
    await agent.event("bundle_notified", bundle="moves", generation=2)

    assert sorted(seen.path for seen in scene.proxy.seen) == [
        scene.kv.api("comes"),
        scene.kv.api("moved"),
    ]
    for name, status in before.items():
        assert (scene.memory / name / "password").stat() == status
    assert (scene.memory / "leaves/password").exists(), "nothing valid is deleted"
    assert diary.entries() == ["moves 2 "]
    assert len(made.leases()) == 1
    status = json.loads((await ask(scene.telemetry, "/status"))[1])
    assert sorted(status["secrets"]) == sorted(secrets)
    await agent.stop()


async def test_a_lease_whose_secret_leaves_the_configuration_is_revoked(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    made = database(ttl="1h")
    scene.allow(made.path, "read")
    scene.kv.put("app", password=value())
    secrets = {"app": scene.secret("app"), "db": {"path": made.path}}
    bundles = {name: scene.bundle(name, files_of(name)) for name in secrets}
    bundles["db"]["remove_on_exit"] = True
    agent = await running(leasehold, scene.configuration(secrets=secrets, bundles=bundles))
    assert len(made.leases()) == 1
    del secrets["db"], bundles["db"]
    leasehold.configure(scene.configuration(secrets=secrets, bundles=bundles))
    await agent.event("reloaded")
    await agent.event("lease_revoked", secret="db")
    assert not made.leases()
    assert not (scene.memory / "db").exists()
    await agent.stop()


async def test_a_changed_store_is_logged_in_to_before_the_old_one_is_left(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    made, diary = database(ttl="1h"), Diary(scene.folder)
    scene.allow(made.path, "read")
    scene.kv.put("app", password=value())
    secrets = {"app": scene.secret("app"), "db": {"path": made.path}}
    notify = [{"command": diary.command}]
    bundles = {name: scene.bundle(name, files_of(name), notify=notify) for name in secrets}
    agent = await running(leasehold, scene.configuration(secrets=secrets, bundles=bundles))
    old = scene.tokens()
    store = scene.store(address=scene.bao.address, timeout="7s")
    leasehold.configure(
        scene.configuration(secrets=secrets, bundles=bundles) | {"stores": {"vault": store}}
    )
    reloaded = await agent.event("reloaded")
    assert reloaded["changed"] == ["store vault"]
    await agent.event("bundle_notified", bundle="db", generation=2)
    await agent.event("lease_revoked", secret="db")
    await agent.event("token_revoked")
    assert len(scene.tokens()) == 1 and scene.tokens() != old
    assert len(made.leases()) == 1
    assert diary.entries() == ["db 2 "], "the KV value is the same, wherever it comes from"
    await agent.stop()
    assert not made.leases() and not scene.tokens()


async def test_a_bad_configuration_changes_nothing_and_every_problem_is_told(
    leasehold: Start, scene: Scene
) -> None:
    scene.kv.put("app", password=value())
    good = scene.configuration(
        secrets={"app": scene.secret("app")}, bundles={"app": scene.bundle("app", files_of("app"))}
    )
    agent = await running(leasehold, good)
    bad = good | {"secrets": {"app": {"path": "x", "renew_at": 3}}, "bundels": {}}
    leasehold.configure(bad)
    refused = await agent.event("reload_refused")
    assert len(refused["problems"]) == 2, refused
    assert any("renew_at" in problem for problem in refused["problems"])
    assert any("bundles" in problem for problem in refused["problems"])
    changed = value()
    scene.kv.put("app", password=changed)
    await agent.event("bundle_published", generation=2)
    assert (scene.memory / "app/password").read_text() == changed
    leasehold.configure(good)
    await agent.event("reloaded", added=[], changed=[], removed=[])
    await agent.stop()


async def test_sighup_reads_the_configuration_again(leasehold: Start, scene: Scene) -> None:
    scene.kv.put("app", password=value())
    configuration = scene.configuration(
        secrets={"app": scene.secret("app")}, bundles={"app": scene.bundle("app", files_of("app"))}
    )
    agent = await running(leasehold, configuration)
    for _ in range(3):
        agent.send(signal.SIGHUP)
        await agent.event("reloading", reason="SIGHUP received")
        await agent.event("reloaded", added=[], changed=[], removed=[])
    await agent.stop()
    assert len(agent.all("bundle_published")) == 1


async def test_of_many_changes_in_a_row_the_last_one_counts(leasehold: Start, scene: Scene) -> None:
    scene.kv.put("app", password=value())
    secrets = {"app": scene.secret("app", refresh_every="1h")}
    bundle = scene.bundle("app", {"number": "0 {{ app.password }}"})
    configuration = scene.configuration(secrets=secrets, bundles={"app": bundle})
    agent = await running(leasehold, configuration)
    file = scene.memory / "app/number"

    def write(number: int) -> None:
        bundle["files"] = {"number": f"{number} {{{{ app.password }}}}"}
        leasehold.configure(configuration)

    for number in range(1, 7):
        write(-number)
        await agent.event("reloading")
        write(number)  # while the one before is read
        await eventually(lambda: file.read_text().startswith(f"{number} "), within=5)  # noqa: B023
    assert not agent.all("reload_refused")
    await agent.stop()


async def test_a_file_in_a_folder_of_configuration_counts_from_its_appearance(
    leasehold: Start, scene: Scene
) -> None:
    for name in ("app", "more"):
        scene.kv.put(name, password=value())
    folder = scene.folder / "conf.d"
    folder.mkdir()
    leasehold.file = folder / "10-base.yaml"
    leasehold.configure(
        scene.configuration(
            secrets={"app": scene.secret("app")},
            bundles={"app": scene.bundle("app", files_of("app"))},
        )
    )
    agent = await leasehold.command("agent", "-c", folder)
    await agent.event("ready")
    for round in (1, 2):
        leasehold.file = folder / f"2{round}-more.yaml"
        leasehold.configure(
            {
                "secrets": {f"more{round}": scene.secret("more")},
                "bundles": {f"more{round}": scene.bundle(f"more{round}", files_of(f"more{round}"))},
            }
        )
        await agent.event("bundle_published", bundle=f"more{round}")
    leasehold.file.unlink()
    await agent.event("reloaded", removed=["bundle more2", "secret more2"])
    await agent.stop()


async def test_a_changed_template_is_rendered_at_once(leasehold: Start, scene: Scene) -> None:
    """vault#8620: the change was ignored until the agent's restart."""
    scene.kv.put("app", password=value(), user="me")
    template = scene.folder / "app.j2"
    template.write_text("{{ app.password }}")
    bundle = scene.bundle("app", {"app.conf": {"template": str(template)}})
    configuration = scene.configuration(
        secrets={"app": scene.secret("app", refresh_every="1h")}, bundles={"app": bundle}
    )
    agent = await running(leasehold, configuration)
    template.write_text("user {{ app.user }}")
    await agent.event("bundle_published", generation=2, within=3)
    file = Path(bundle["directory"]) / "app.conf"
    assert file.read_text() == "user me"
    template.write_text("user {{ app.user")
    failed = await agent.event("bundle_failed", step="render")
    assert str(template) in failed["reason"]
    assert file.read_text() == "user me"
    assert scene.reads("app") == 1
    await agent.stop()


async def test_the_log_level_follows(leasehold: Start, scene: Scene) -> None:
    scene.kv.put("app", password=value())
    configuration = scene.configuration(
        secrets={"app": scene.secret("app")}, bundles={"app": scene.bundle("app", files_of("app"))}
    )
    agent = await running(leasehold, configuration)
    leasehold.configure(configuration | {"log": {"format": "json", "level": "warning"}})
    await eventually(lambda: scene.reads("app") > 3)
    leasehold.configure(configuration | {"log": {"format": "json", "level": "info"}})
    await agent.event("reloaded")
    await agent.stop()
    quiet = agent.events[agent.events.index(agent.all("reloading")[0]) + 1 :]
    levels = [event["level"] for event in quiet]
    assert "debug" not in levels and len(agent.all("reloaded")) == 1
