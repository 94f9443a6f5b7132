"""The main job: secrets into files, and word of a change to the app."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
from pathlib import Path

from tests.rig.agent import Start
from tests.rig.app import Diary, ServedApp
from tests.rig.needs import needs_root
from tests.rig.postgres import MakeDatabase
from tests.rig.scene import Scene, value
from tests.rig.signal_app import SignalApp, own_executable


def owner(path: Path) -> tuple[str, str, int]:
    status = path.stat()
    names = pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name
    return *names, stat.S_IMODE(status.st_mode)


def tree(directory: Path) -> dict[Path, os.stat_result]:
    return {path: path.lstat() for path in [directory, *directory.rglob("*")]}


def sourced(file: Path, variable: str) -> str:
    script = f'. {file}; printf %s "${variable}"'
    return subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout


async def test_secrets_are_in_their_files_with_owner_and_mode(
    leasehold: Start, scene: Scene
) -> None:
    needs_root()
    password = f"{value()} $HOME 'quoted'"
    scene.kv.put("app", username="me", password=password)
    (scene.folder / "app.conf.j2").write_text("{{ app.username }} {{ meta('app').version }}\n")
    files = {
        "password": "{{ app.password }}",
        "app.env": {"format": "env", "secrets": ["app"], "mode": "0400"},
        "conf/app.conf": {"template": "app.conf.j2", "owner": "root"},
    }
    bundle = scene.bundle("app", files, owner="daemon", group="mail", mode="0440")
    agent = await leasehold(
        scene.configuration(secrets={"app": scene.secret("app")}, bundles={"app": bundle})
    )
    await agent.event("ready")
    directory = Path(bundle["directory"])
    assert (directory / "password").read_text() == password
    assert sourced(directory / "app.env", "PASSWORD") == password
    assert (directory / "conf/app.conf").read_text() == "me 1\n"
    assert owner(directory / "password") == ("daemon", "mail", 0o440)
    assert owner(directory / "app.env") == ("daemon", "mail", 0o400)
    assert owner(directory / "conf/app.conf") == ("root", "mail", 0o440)
    requests = [(seen.method, seen.path.split("/")[0]) for seen in scene.proxy.seen]
    mount = scene.kv.mount
    assert requests[:3] == [("POST", "auth"), ("GET", "sys"), ("GET", mount)], requests
    assert (await agent.stop()).code == 0
    assert not scene.tokens()


async def test_a_rotation_is_one_rename_and_one_word_to_the_app(
    leasehold: Start, scene: Scene
) -> None:
    scene.kv.put("app", password=value(), key=value())
    app, diary, server = SignalApp(own_executable(scene.folder)), Diary(scene.folder), ServedApp()
    pid_file, socket = scene.memory / "app.pid", scene.memory / "app.sock"
    pid_file.write_text(f"{app.pid}\n")
    bundle = scene.bundle(
        "app",
        {"password": "{{ app.password }}", "key": "{{ app.key }}"},
        notify=[
            {"signal": "HUP", "pid_file": str(pid_file)},
            {"command": [*diary.command, "{bundle}", "{directory}"]},
            {"http": f"http+unix:{socket}:/reload"},
        ],
    )
    directory = Path(bundle["directory"])
    async with server.on(socket):
        agent = await leasehold(
            scene.configuration(secrets={"app": scene.secret("app")}, bundles={"app": bundle})
        )
        await agent.event("ready")
        first = (directory / "..data").readlink()
        password, key = value(), value()
        scene.kv.put("app", password=password, key=key)
        published = await agent.event("bundle_published", generation=2)
        for _ in bundle["notify"]:
            await agent.event("bundle_notified", generation=2)
        await agent.stop()
    assert published["changed_files"] == ["key", "password"]
    assert (directory / "password").read_text() + (directory / "key").read_text() == password + key
    assert (directory / "..data").readlink() != first
    assert (directory / first / "password").exists(), "the one before is kept"
    assert app.times_told() == 1
    assert diary.entries() == [f"app 2 app {directory}"]
    assert server.asked == ["POST /reload"]
    app.end()


async def test_unchanged_rounds_write_and_tell_nothing(leasehold: Start, scene: Scene) -> None:
    scene.kv.put("app", password=value())
    diary = Diary(scene.folder)
    bundle = scene.bundle(
        "app", {"password": "{{ app.password }}"}, notify=[{"command": diary.command}]
    )
    directory = Path(bundle["directory"])
    agent = await leasehold(
        scene.configuration(secrets={"app": scene.secret("app")}, bundles={"app": bundle})
    )
    await agent.event("ready")
    before = tree(directory)
    for _ in range(3):
        await agent.event("secret_read", is_changed=False)
    assert tree(directory) == before
    await agent.stop()
    assert not diary.entries()
    assert len(agent.all("bundle_published")) == 1


async def test_two_bundles_share_one_fetch_and_one_lease(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    made = database(ttl="1h")
    scene.allow(made.path, "read")
    scene.kv.put("app", password=value())
    files = {"all": "{{ db.username }} {{ db.password }} {{ app.password }}"}
    agent = await leasehold(
        scene.configuration(
            secrets={"app": scene.secret("app", refresh_every="1h"), "db": {"path": made.path}},
            bundles={name: scene.bundle(name, files) for name in ("left", "right")},
        )
    )
    await agent.event("ready")
    left, right = ((scene.memory / name / "all").read_text() for name in ("left", "right"))
    assert left == right
    assert scene.reads("app") == len(scene.proxy.requests(made.path)) == 1
    assert len(made.leases()) == 1
    await agent.stop()
    assert not made.leases()


async def test_files_are_removed_at_the_end_where_that_is_wanted(
    leasehold: Start, scene: Scene
) -> None:
    scene.kv.put("app", password=value())
    files = {"password": "{{ app.password }}"}
    configuration = scene.configuration(
        secrets={"app": scene.secret("app")},
        bundles={
            "gone": scene.bundle("gone", files, remove_on_exit=True),
            "kept": scene.bundle("kept", files),
        },
    )
    assert (await (await leasehold(configuration, "once")).wait()).code == 0
    assert (scene.memory / "gone/password").exists(), "`once` renders for those who come after it"
    agent = await leasehold(configuration)
    await agent.event("ready")
    assert (await agent.stop()).code == 0
    assert not (scene.memory / "gone").exists()
    assert (scene.memory / "kept/password").read_text().startswith("s3cr3t")
