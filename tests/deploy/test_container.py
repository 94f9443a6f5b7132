"""The image as a sidecar, by podman and runc, with as little as it says that it needs."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

from tests.rig.containers import MEMORY_ONLY, RESTRICTED, Container, Containers
from tests.rig.images import APP, CHECKOUT, USER, build_file
from tests.rig.local_store import local_store_in, made, put
from tests.rig.memory import MakeTmpfs
from tests.rig.pod import KEPT, SECRETS, Pod
from tests.rig.postgres import MakeDatabase
from tests.rig.scene import value
from tests.rig.waiting import eventually

SOON = 120.0
MOST_MEMORY = 48 << 20
DOOR = f"{SECRETS}/door.sock"
WITH_APP = "localhost/leasehold-run"
pytestmark = pytest.mark.timeout(900)

ASK = f"""
import http.client, json, socket
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect("{DOOR}")
connection.request("GET", "/v1/secrets/settings")
answer = connection.getresponse()
label = json.loads(answer.read()).get("value", {{}}).get("label")
print(json.dumps({{"event": "asked", "status": answer.status, "label": label}}))
"""

PRY = """
import json, pathlib
agents = [each for each in pathlib.Path("/proc").glob("[0-9]*")
          if (each / "comm").read_text() == "leasehold\\n"]
refused = []
for name in ("environ", "mem", "maps", "fd", "root"):
    try:
        place = agents[0] / name
        list(place.iterdir()) if name in ("fd", "root") else place.read_bytes()
    except PermissionError:
        refused.append(name)
print(json.dumps({"agents": len(agents), "refused": refused}))
"""

PARENT_OF_AN_ORPHAN = """
import json, os, signal, sys
if os.fork() == 0:
    if os.fork() == 0:
        signal.pause()
    os._exit(0)
os.wait()
print(json.dumps({"event": "started", "label": os.environ["LABEL"], "parent": os.getppid()}))
sys.stdout.flush()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
signal.pause()
"""


async def test_a_sidecar_that_shares_the_apps_pid_namespace(pod: Pod) -> None:
    brief = {"directory": f"{SECRETS}/brief", "files": {"label": "{{ settings.label }}"}}
    pod.configure(bundles={"app": pod.bundle(), "brief": {**brief, "remove_on_exit": True}})
    volume = await pod.containers.volume()
    app = await pod.app(volume=volume)
    await app.event("waiting", within=SOON)
    agent = await pod.agent(volume=volume, options=[f"--pid=container:{app.name}"])
    ready = await agent.event("ready", within=SOON)
    await app.event("loaded", label="one", why="start", within=SOON)
    assert await agent.is_healthy()
    await report(agent, ready["time"])
    pried = await app.execute("app", "-c", PRY)
    assert pried.code == 0, pried.err
    everything = ["environ", "mem", "maps", "fd", "root"]
    assert json.loads(pried.out) == {"agents": 1, "refused": everything}

    pod.put("two")
    await app.event("loaded", label="two", why="SIGHUP", within=SOON)

    await pod.scene.proxy.refuse()
    await agent.event("store_down", within=SOON)
    assert await agent.is_healthy(), "what was published stays and works"
    await pod.scene.proxy.start()
    await agent.event("store_back", within=SOON)

    assert (await agent.stop()).code == 0
    assert not pod.scene.tokens()
    left = await app.execute("ls", SECRETS, f"{SECRETS}/app")
    assert "settings.json" in left.out and "brief" not in left.out


async def test_a_sidecar_that_was_killed_goes_on_and_so_does_the_app(
    pod: Pod, database: MakeDatabase
) -> None:
    made = database()
    pod.scene.allow(made.path, "read")
    pod.keep("key", secrets.token_hex(32))
    files = pod.bundle()["files"] | {"user": "{{ db.username }}"}
    pod.configure(
        secrets={"settings": pod.scene.secret("app"), "db": {"path": made.path}},
        bundles={"app": pod.bundle(files=files)},
        cache={"file": f"{KEPT}/cache", "key": {"file": f"{KEPT}/key"}},
    )
    volume = await pod.containers.volume()
    app = await pod.app(volume=volume)
    await app.event("waiting", within=SOON)
    options = [f"--pid=container:{app.name}", "--hostname=pod"]
    agent = await pod.agent(volume=volume, options=options)
    await app.event("loaded", label="one", within=SOON)
    pod.put("two")
    await app.event("loaded", label="two", within=SOON)
    await eventually(lambda: is_sealed_since(agent, generation=2), within=SOON)
    user = await app.execute("cat", f"{SECRETS}/app/user")

    await agent.kill()
    pod.put("three")
    agent = await pod.agent(volume=volume, options=options)
    await agent.event("bundle_published", generation=3, within=SOON)
    await app.event("loaded", label="three", why="SIGHUP", within=SOON)
    assert user.out == (await app.execute("cat", f"{SECRETS}/app/user")).out != ""
    assert len(pod.scene.proxy.requests(made.path)) == 1, "nothing was minted again"
    assert pod.scene.logins() == 1
    assert len(app.all("waiting")) == 1, "the app was never started again"


async def test_without_a_shared_pid_namespace_apps_ask_at_a_socket(pod: Pod) -> None:
    rules = [
        {"user": str(USER), "secrets": ["settings"]},
        {"user": "10002", "executable": "/usr/local/bin/app", "secrets": ["*"]},
    ]
    door = {"protocol": "secrets", "socket": DOOR, "mode": "0666", "allow": rules}
    pod.configure(
        bundles={"app": pod.bundle(notify=[{"http": f"http://127.0.0.1:{pod.port}/-/reload"}])},
        listeners=[door],
    )
    volume = await pod.containers.volume(options=MEMORY_ONLY.replace("0750", "0755"))
    agent = await pod.agent(volume=volume)
    await agent.event("ready", within=SOON)
    app = await pod.app(volume=volume)
    await app.event("loaded", label="one", within=SOON)
    assert await agent.process_id() != await app.process_id()

    asking = await pod.app("app", "-c", ASK, volume=volume)
    await asking.event("asked", status=200, label="one", within=SOON)
    stranger = await pod.app("app", "-c", ASK, volume=volume, options=["--user=10002"])
    await stranger.event("asked", status=403, label=None, within=SOON)

    pod.put("two")
    await app.event("loaded", label="two", why="POST", within=SOON)


async def test_once_as_an_init_container(pod: Pod, make_tmpfs: MakeTmpfs) -> None:
    volume = make_tmpfs(f"size=4m,mode=0750,uid={USER},gid={USER},noexec,nosuid,nodev")
    command = ("once", "-c", "/etc/leasehold", "--timeout")
    await pod.scene.proxy.refuse()
    init = await pod.agent(*command, "1s", volume=volume)
    assert (await init.wait(within=SOON)).code == 3
    await pod.scene.proxy.start()
    init = await pod.agent(*command, "60s", volume=volume)
    assert (await init.wait(within=SOON)).code == 0
    app = await pod.app(volume=volume)
    await app.event("loaded", label="one", why="start", within=SOON)


async def test_run_is_process_1_of_an_apps_container(pod: Pod, leasehold_image: str) -> None:
    arguments = [f"--build-arg=LEASEHOLD_IMAGE={leasehold_image}", f"--build-arg=APP_IMAGE={APP}"]
    file = CHECKOUT / "deploy/container/run.Dockerfile"
    await asyncio.to_thread(build_file, WITH_APP, file, *arguments)
    pod.configure(bundles={}, process={"environment": {"LABEL": "{{ settings.label }}"}})
    volume = await pod.containers.volume()
    agent = await pod.agent("app", "-c", PARENT_OF_AN_ORPHAN, volume=volume, image=WITH_APP)
    await agent.event("started", label="one", parent=1, within=SOON)
    first = await agent.process_id()
    await eventually(lambda: len(children(first)) == 2, within=SOON)
    app, orphan = sorted(children(first), key=lambda pid: os.getpgid(pid) != pid)
    os.kill(orphan, signal.SIGKILL)
    await eventually(lambda: children(first) == {app}, within=SOON)
    pod.put("two")
    await agent.event("started", label="two", parent=1, within=SOON)
    assert (await agent.stop()).code == 7


async def test_the_first_run_of_the_documentation(containers: Containers, tmp_path: Path) -> None:
    page = (CHECKOUT / "docs/container.md").read_text()
    etc, state = tmp_path / "etc", tmp_path / "state"
    for folder in (etc, state):
        folder.mkdir()
    (etc / "leasehold.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    await asyncio.to_thread(fill, state)
    volume = await containers.volume()
    mounts = (f"--volume={etc}:/etc/leasehold:ro", f"--volume={state}:/var/lib/leasehold")
    options = [*RESTRICTED, *mounts, f"--volume={volume}:{SECRETS}"]
    agent = await containers.run("agent", options=options)
    await agent.event("ready", within=SOON)
    healthy = await agent.execute("leasehold", "health", "-c", "/etc/leasehold")
    assert (healthy.code, healthy.out) == (0, "ready\n"), healthy.err
    seen = await containers.run(
        "app",
        *("ls", "-A", f"{SECRETS}/app"),
        image=APP,
        options=[f"--user={USER}", f"--volume={volume}:{SECRETS}:ro"],
    )
    listed = (await seen.wait(within=SOON)).out.split()
    assert listed == ["..announced", "..data", "..gen-000001", "settings.json"]


def fill(state: Path) -> None:
    """A local store of the agent's user."""
    put(made(local_store_in(state)), "settings", label="one", password=value())
    for each in (state, *state.iterdir()):
        os.chown(each, USER, USER)


async def report(agent: Container, ready_at: str) -> None:
    """Figures, and that they are what the documentation says."""
    started_at = (await agent.inspected("{{json .State.StartedAt}}")).strip('"')
    seconds = datetime.fromisoformat(ready_at) - datetime.fromisoformat(started_at)
    memory = await agent.memory()
    print(f"\nready after {seconds.total_seconds():.2f} s with {memory / 2**20:.1f} MiB of memory")
    assert memory < MOST_MEMORY


def is_sealed_since(agent: Container, *, generation: int) -> bool:
    """The cache was written after this generation was published."""
    published = agent.all("bundle_published", generation=generation)
    since = agent.events[agent.events.index(published[0]) :] if published else []
    return any(each["event"] == "cache_written" for each in since)


def children(pid: int) -> set[int]:
    """Of all threads of a process, those that nobody has waited for among them."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # the thread has ended
            found.update(map(int, (task / "children").read_text().split()))
    return found
