"""What fails stays where it fails: no other secret, no other bundle, no credential suffers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.core.events import BundlePublished
from tests.rig.agent import Leasehold, Start
from tests.rig.app import Diary
from tests.rig.clock import JumpClock
from tests.rig.composed import composed
from tests.rig.memory import MakeTmpfs
from tests.rig.postgres import Database, MakeDatabase
from tests.rig.scene import Configuration, Scene, value
from tests.rig.stores import Recorder

MINUTES = 10


async def test_one_denied_path_uses_up_no_quota_external_secrets_4925_csi_1483(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    """consul-template ends after 304 s, bao agent starts its whole runner again."""
    made = database(ttl="1h")
    scene.allow(made.path, "read")
    scene.allow(scene.kv.api("denied"))
    names = [f"app{number}" for number in range(5)]
    for name in [*names, "denied"]:
        scene.kv.put(name, password=value())
    secrets = {name: scene.secret(name, refresh_every="1m") for name in [*names, "denied"]}
    bundles = {name: scene.bundle(name, {"p": f"{{{{ {name}.password }}}}"}) for name in secrets}
    bundles["db"] = scene.bundle("db", {"p": "{{ db.password }}"})
    file = leasehold.configure(
        scene.configuration(secrets={**secrets, "db": {"path": made.path}}, bundles=bundles)
    )

    def file_of(name: str) -> str:
        return (scene.memory / name / "p").read_text()

    clock, events = JumpClock(idle_seconds=0.03), Recorder()
    started_at = clock.now()
    async with composed(file, clock, events) as composition:
        await events.until(lambda: len(events.all(BundlePublished)) == len(names) + 1)
        for _ in range(MINUTES):
            changed = value()
            scene.kv.put(names[0], password=changed)
            await clock.advance(60)
            await clock.run_until(lambda: file_of(names[0]) == changed, within=30)  # noqa: B023
            fresh = [composition.ledger.entry(name) for name in [*names, "db"]]
            assert [str(each.state) for each in fresh] == ["fresh"] * 6
        assert composition.ledger.entry("denied").kind == "denied"
        assert len(made.leases()) == 1
    minutes = (clock.now() - started_at) / 60
    for name in names:
        assert minutes - 1 <= scene.reads(name) <= minutes / 0.9 + 2, name
    assert 2 <= scene.reads("denied") <= 15
    assert len(scene.proxy.requests(made.path)) == 1
    assert scene.logins() == 1
    assert not made.leases() and not scene.tokens()


Break = Callable[[Scene, Configuration, MakeTmpfs], Callable[[], object]]
"""Breaks a bundle's entry; the answer repairs what it is about."""


def a_template(scene: Scene, bundle: Configuration, _: MakeTmpfs) -> Callable[[], object]:
    template = scene.folder / "broken.j2"
    template.write_text("{{ app.password }} {{ db.password }} {{ app.no_such_field }}")
    bundle["files"] = {"p": {"template": str(template)}}
    return lambda: template.write_text("{{ app.password }} {{ db.password }}")


def a_check(scene: Scene, bundle: Configuration, _: MakeTmpfs) -> Callable[[], object]:
    check = Diary(scene.folder, "check")
    check.fail()
    bundle["validate"] = {"command": check.command}
    return check.recover


def a_command(scene: Scene, bundle: Configuration, _: MakeTmpfs) -> Callable[[], object]:
    command = Diary(scene.folder, "command")
    command.fail()
    bundle |= {"notify": [{"command": command.command}], "notify_first": True}
    return command.recover


def a_full_disk(_: Scene, bundle: Configuration, make_tmpfs: MakeTmpfs) -> Callable[[], object]:
    filesystem = make_tmpfs("size=64k")
    filler = filesystem / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(1 << 20))
    bundle["directory"] = str(filesystem / "app")
    return filler.unlink


@pytest.mark.parametrize(
    ("broken", "step"),
    [
        (a_template, "render"),
        (a_check, "validate"),
        (a_command, "notify"),
        (a_full_disk, "publish"),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
async def test_one_failing_step_reads_nothing_again_and_touches_no_other_bundle(
    leasehold: Start,
    scene: Scene,
    database: MakeDatabase,
    make_tmpfs: MakeTmpfs,
    broken: Break,
    step: str,
) -> None:
    """vault#32035, vault#26283, vault#12566: it ran all again and issued new credentials."""
    made = database(ttl="1h")
    scene.allow(made.path, "read")
    scene.kv.put("app", password=value())
    files = {"p": "{{ app.password }} {{ db.password }}"}
    bad, good = scene.bundle("bad", files), scene.bundle("good", files)
    repair = broken(scene, bad, make_tmpfs)
    agent = await leasehold(
        scene.configuration(
            secrets={"app": scene.secret("app", refresh_every="1h"), "db": {"path": made.path}},
            bundles={"bad": bad, "good": good},
        )
    )
    await agent.event("bundle_published", bundle="good", generation=1)
    for _ in range(3):
        await agent.event("bundle_failed", bundle="bad", step=step)
    _nothing_was_read_again(agent, scene, made)
    repair()
    await _well_again(agent, Path(bad["directory"]), step)
    _nothing_was_read_again(agent, scene, made)
    assert len(agent.all("bundle_published", bundle="good")) == 1
    await agent.stop()


async def _well_again(agent: Leasehold, directory: Path, step: str) -> None:
    if step == "notify":
        await agent.event("bundle_notified", bundle="bad")
    else:
        await agent.event("bundle_published", bundle="bad")
    assert (directory / "p").exists()


def _nothing_was_read_again(agent: Leasehold, scene: Scene, made: Database) -> None:
    assert scene.reads("app") == len(scene.proxy.requests(made.path)) == 1
    assert len(made.leases()) == 1 and scene.logins() == 1
    assert not agent.all("secret_stale")
