"""A machine that sleeps, has no descriptors left, or no network: what is held stays alive."""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.rig.agent import Start
from tests.rig.bao_client import unique
from tests.rig.needs import needs_program, needs_root
from tests.rig.postgres import Database, MakeDatabase, Postgres
from tests.rig.scene import Configuration, Scene, value
from tests.rig.waiting import eventually


def with_credential(scene: Scene, made: Database, **changed: object) -> Configuration:
    scene.allow(made.path, "read")
    scene.kv.put("app", password=value())
    files = {"credential": "{{ db.username }} {{ db.password }}", "p": "{{ app.password }}"}
    return scene.configuration(
        secrets={"db": {"path": made.path}, "app": scene.secret("app")},
        bundles={"app": scene.bundle("app", files)},
        **changed,
    )


def held(scene: Scene) -> list[str]:
    return (scene.memory / "app/credential").read_text().split()


async def test_a_machine_that_slept_longer_than_a_lease_has_another_one_at_once(
    leasehold: Start, scene: Scene, database: MakeDatabase, postgres: Postgres
) -> None:
    made = database(ttl="3s", max_ttl="1h")
    agent = await leasehold(with_credential(scene, made))
    await agent.event("ready")
    user, _ = held(scene)
    agent.send(signal.SIGSTOP)
    await eventually(lambda: not made.leases() and not postgres.has_role(user))
    scene.proxy.forget()
    agent.skip()
    agent.send(signal.SIGCONT)
    await agent.event("secret_read", secret="db", is_changed=True, within=3)
    await agent.event("bundle_published", generation=2, within=3)
    assert await asyncio.to_thread(postgres.can_log_in, *held(scene))
    assert len(scene.proxy.requests(made.path)) == 1 and len(made.leases()) == 1
    assert len(scene.proxy.seen) <= 12, scene.proxy.seen
    assert scene.logins() == 0
    await agent.stop()
    assert not made.leases()


async def test_without_descriptors_what_is_held_stays_and_all_is_well_once_there_are_some(
    leasehold: Start, scene: Scene, database: MakeDatabase, postgres: Postgres
) -> None:
    made = database(ttl="1h")
    agent = await leasehold(with_credential(scene, made))
    await agent.event("ready")
    before = held(scene)
    limits = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)
    await scene.proxy.drop()
    resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    scene.kv.put("app", password=(changed := value()))
    agent.skip()
    await agent.event("store_down")
    for _ in range(2):
        failed = await agent.event("bundle_failed", step="publish")
        assert "Too many open files" in failed["message"]
    assert held(scene) == before and await asyncio.to_thread(postgres.can_log_in, *before)
    resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, limits)
    await agent.event("bundle_published", generation=2)
    assert (scene.memory / "app/p").read_text() == changed and held(scene) == before
    assert len(scene.proxy.requests(made.path)) == len(made.leases()) == 1
    assert (await agent.stop()).code == 0
    assert not made.leases() and not scene.tokens()


class Namespace:
    """A network of its own, with one way out to `gateway`, and a hosts file of its own."""

    def __init__(self) -> None:
        needs_root()
        needs_program("ip")
        self.name = unique("leasehold")
        self.link = self.name.replace("leasehold-", "lhold")
        self.gateway = "169.254.77.1"
        self.etc = Path("/etc/netns") / self.name
        self.etc.mkdir(parents=True)
        (self.etc / "resolv.conf").write_text(
            "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
        )
        self.hosts = self.etc / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self._ip("netns", "add", self.name)
        self._ip("link", "add", self.link, "type", "veth", "peer", "eth0", "netns", self.name)
        self._ip("addr", "add", f"{self.gateway}/30", "dev", self.link)
        self._ip("link", "set", self.link, "up")
        self._ip("-n", self.name, "addr", "add", "169.254.77.2/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            self._ip("-n", self.name, "link", "set", device, "up")

    @property
    def words(self) -> tuple[str, ...]:
        """Before a command, so that it runs there."""
        return ("ip", "netns", "exec", self.name)

    def cut(self) -> None:
        """No packet comes through any more, and nobody says so."""
        self._ip("link", "set", self.link, "down")

    def join(self) -> None:
        self._ip("link", "set", self.link, "up")

    def close(self) -> None:
        self._ip("netns", "del", self.name)
        for file in self.etc.iterdir():
            file.unlink()
        self.etc.rmdir()

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace()
    yield made
    made.close()


@asynccontextmanager
async def relayed(scene: Scene, host: str) -> AsyncIterator[int]:
    """The scene's proxy, at another address too; the port there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", scene.proxy.port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pump(reader, far_writer))
            tasks.create_task(pump(far_reader, writer))

    async with await asyncio.start_server(serve, host, 0) as server:
        yield server.sockets[0].getsockname()[1]


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort()


async def test_a_name_that_is_not_known_yet_and_a_network_that_goes_away(
    leasehold: Start,
    scene: Scene,
    database: MakeDatabase,
    postgres: Postgres,
    namespace: Namespace,
) -> None:
    made = database(ttl="1h")
    async with relayed(scene, namespace.gateway) as port:
        store = scene.store(address=f"http://vault.example:{port}", timeout="1s")
        file = leasehold.configure(with_credential(scene, made, stores={"vault": store}))
        agent = await leasehold.command("agent", "-c", file, within=namespace.words)
        down = await agent.event("store_down")
        assert "can't connect" in down["message"], down
        with namespace.hosts.open("a") as hosts:
            hosts.write(f"{namespace.gateway} vault.example\n")
        await agent.event("ready", within=15)
        before = held(scene)
        namespace.cut()
        scene.kv.put("app", password=(changed := value()))
        await agent.event("store_down")
        assert held(scene) == before and await asyncio.to_thread(postgres.can_log_in, *before)
        namespace.join()
        await agent.event("bundle_published", generation=2, within=15)
        assert (scene.memory / "app/p").read_text() == changed and held(scene) == before
        assert len(scene.proxy.requests(made.path)) == scene.logins() == 1
        assert (await agent.stop()).code == 0
        assert not made.leases()
