"""`leasehold once`: everything rendered, and an exit code that tells."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.rig.agent import Start
from tests.rig.app import Diary
from tests.rig.faults import DENIED, Hang
from tests.rig.postgres import Database, MakeDatabase
from tests.rig.proxy import path
from tests.rig.scene import Configuration, Scene, value


@pytest.fixture
def made(scene: Scene, database: MakeDatabase) -> Database:
    made = database(ttl="1h")
    scene.allow(made.path, "read")
    scene.kv.put("app", password=value())
    return made


def both(scene: Scene, made: Database, **changed: object) -> Configuration:
    """A KV value and a leased one, in one bundle."""
    files = {"both": "{{ app.password }} {{ db.password }}"}
    return scene.configuration(
        secrets={"app": scene.secret("app"), "db": {"path": made.path}},
        bundles={"app": scene.bundle("app", files, **changed)},
    )


async def test_it_renders_everything_and_leaves_the_leases_to_the_app(
    leasehold: Start, scene: Scene, made: Database
) -> None:
    done = await (await leasehold(both(scene, made), "once")).wait()
    assert done.code == 0 and not done.out
    assert len((scene.memory / "app/both").read_text().split()) == 2
    assert len(made.leases()) == 1 and len(scene.tokens()) == 1


async def test_a_second_run_over_what_the_first_left(leasehold: Start, scene: Scene) -> None:
    scene.kv.put("app", password=value())
    diary = Diary(scene.folder)
    bundle = scene.bundle("app", {"p": "{{ app.password }}"}, notify=[{"command": diary.command}])
    configuration = scene.configuration(
        secrets={"app": scene.secret("app")}, bundles={"app": bundle}
    )
    for expected in (1, 1):
        assert (await (await leasehold(configuration, "once")).wait()).code == 0
        assert (Path(bundle["directory"]) / "..data").readlink().name.endswith(f"{expected}")
    changed = value()
    scene.kv.put("app", password=changed)
    assert (await (await leasehold(configuration, "once")).wait()).code == 0
    assert (Path(bundle["directory"]) / "p").read_text() == changed
    assert diary.entries() == ["app 2 "]


async def test_what_a_configuration_is_warned_of_is_said_as_by_the_agent(
    leasehold: Start, scene: Scene, made: Database
) -> None:
    configuration = both(scene, made)
    configuration["secrets"] |= {"spare": scene.secret("app")}
    once = await leasehold(configuration, "once")
    assert (await once.wait()).code == 0
    assert any("secrets.spare: is used by no file" in each["text"] for each in once.all("advice"))


async def test_one_that_fails_leaves_what_an_earlier_one_rendered(
    leasehold: Start, scene: Scene, made: Database
) -> None:
    configuration = both(scene, made, remove_on_exit=True)
    assert (await (await leasehold(configuration, "once")).wait()).code == 0
    rendered = (scene.memory / "app/both").read_text()
    scene.proxy.fault(DENIED, path(scene.kv.api("app")))
    once = await leasehold(configuration, "once", ["--timeout", "1s"])
    assert (await once.wait()).code == 3
    assert (scene.memory / "app/both").read_text() == rendered


async def test_what_is_not_had_in_time_is_named_and_nothing_is_left(
    leasehold: Start, scene: Scene, made: Database
) -> None:
    """vault#6492, vault-k8s#593, envconsul#176: a failed start left its leases behind."""
    scene.proxy.fault(DENIED, path(scene.kv.api("app")))
    once = await leasehold(both(scene, made), "once", ["--timeout", "1s"])
    done = await once.wait()
    assert done.code == 3
    last = done.err.splitlines()[-1]
    assert (
        last.startswith("leasehold: not everything was had within 1 s: app (") and "db" not in last
    )
    assert once.all("secret_read", secret="db")
    assert not made.leases() and not scene.tokens()
    assert not (scene.memory / "app/both").exists()


async def test_a_server_that_is_down_is_not_had_in_time(
    leasehold: Start, scene: Scene, made: Database
) -> None:
    await scene.proxy.refuse()
    done = await (await leasehold(both(scene, made), "once", ["--timeout", "1s"])).wait()
    assert done.code == 3
    assert "can't connect" in done.err.splitlines()[-1]


async def test_a_wrong_secret_id_is_told_apart(
    leasehold: Start, scene: Scene, made: Database
) -> None:
    scene.secret_id_file.write_text("00000000-0000-0000-0000-000000000000")
    done = await (await leasehold(both(scene, made), "once", ["--timeout", "1s"])).wait()
    assert done.code == 4
    assert done.err.splitlines()[-1].startswith("leasehold: log in")


async def test_a_bundle_that_fails_is_named(leasehold: Start, scene: Scene, made: Database) -> None:
    configuration = both(scene, made, validate={"command": ["/bin/false"]})
    done = await (await leasehold(configuration, "once", ["--timeout", "1s"])).wait()
    assert done.code == 1
    last = done.err.splitlines()[-1]
    assert "bundle app (validate failed: command /bin/false: exit code 1" in last
    assert last.endswith("nothing stands)")
    assert not made.leases() and not scene.tokens()


async def test_what_the_app_does_not_confirm_is_taken_back_and_said(
    leasehold: Start, scene: Scene
) -> None:
    first = value()
    scene.kv.put("app", password=first)
    proof = Diary(scene.folder, "proof")
    bundle = scene.bundle(
        "app",
        {"p": "{{ app.password }}"},
        confirm={"command": proof.command, "timeout": "300ms", "every": "100ms"},
    )
    configuration = scene.configuration(
        secrets={"app": scene.secret("app")}, bundles={"app": bundle}
    )
    assert (await (await leasehold(configuration, "once")).wait()).code == 0
    scene.kv.put("app", password=value())
    proof.fail()
    once = await leasehold(configuration, "once", ["--timeout", "2s"])
    done = await once.wait()
    assert done.code == 1
    last = done.err.splitlines()[-1]
    assert "bundle app (confirm failed: " in last and last.endswith("generation 1 stands)")
    assert (Path(bundle["directory"]) / "p").read_text() == first
    assert once.all("bundle_rolled_back", restored=1)
    proof.recover()
    assert (await (await leasehold(configuration, "once")).wait()).code == 0


async def test_a_credential_that_was_not_confirmed_makes_room_for_the_one_that_lives(
    leasehold: Start, scene: Scene, made: Database
) -> None:
    """The new one is given back; an earlier run has left the former one for the app."""
    proof = Diary(scene.folder, "proof")
    confirm = {"command": proof.command, "timeout": "300ms", "every": "100ms"}
    configuration = both(scene, made, confirm=confirm)
    assert (await (await leasehold(configuration, "once")).wait()).code == 0
    rendered, (lease,) = (scene.memory / "app/both").read_text(), made.leases()
    proof.fail()
    done = await (await leasehold(configuration, "once", ["--timeout", "2s"])).wait()
    assert done.code == 1 and "generation 1 stands" in done.err.splitlines()[-1]
    assert made.leases() == [lease]
    assert (scene.memory / "app/both").read_text() == rendered


async def test_a_bad_configuration_is_refused_before_anything_is_asked(
    leasehold: Start, scene: Scene, made: Database
) -> None:
    done = await (await leasehold(both(scene, made) | {"bundles": {"app": {}}}, "once")).wait()
    assert done.code == 2
    assert not scene.proxy.seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
async def test_told_to_end_it_gives_back_what_it_had(
    leasehold: Start, scene: Scene, made: Database, number: signal.Signals
) -> None:
    scene.proxy.fault(Hang(), path(scene.kv.api("app")))
    once = await leasehold(both(scene, made), "once")
    await once.event("secret_read", secret="db")
    once.send(number)
    done = await once.wait(within=15)
    assert done.code == 128 + number
    assert "Traceback" not in done.err
    assert not made.leases() and not scene.tokens()
