"""One life to its sudden end, and the next one to an orderly end."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientSession, UnixConnector

from tests.faults.killed.app import App
from tests.faults.killed.points import Cell, Phase
from tests.faults.matrix.plant import database_of_a_cell
from tests.rig.agent import Leasehold, Start
from tests.rig.bao_client import Bao
from tests.rig.postgres import Database, Postgres
from tests.rig.proxy import Proxy
from tests.rig.scene import Configuration, Scene, value
from tests.rig.waiting import EVERY

LONG = 40.0
"""Seconds that anything may take where many lives are lived at once."""
LONGEST_PROOF = "2s"


@dataclass
class Plant:
    """A leased credential and a plain value, in one bundle of one app; with a cache."""

    scene: Scene
    database: Database
    start: Start
    app: App

    def configuration(self) -> Configuration:
        key = self.scene.folder / "cache-key"
        if not key.exists():
            key.write_text(secrets.token_hex(32))
            key.chmod(0o600)
        socket = f"http+unix:{self.scene.memory / 'app.sock'}"
        proof = {"http": f"{socket}:/health", "timeout": LONGEST_PROOF, "every": "100ms"}
        bundle = self.scene.bundle(
            "app",
            {"credential": "{{ db.username }} {{ db.password }}", "note": "{{ kv.password }}"},
            notify=[{"http": f"{socket}:/reload", "timeout": "10s"}],
            confirm=proof,
            notify_first=True,
        )
        kv = self.scene.secret("kv", refresh_every="1h")
        return self.scene.configuration(
            secrets={"db": {"path": self.database.path, "refresh_every": "1h"}, "kv": kv},
            bundles={"app": bundle},
            cache={"file": str(self.scene.folder / "cache"), "key": {"file": str(key)}},
        )

    async def refresh(self) -> None:
        """Ask the agent for another credential."""
        connector = UnixConnector(str(self.scene.telemetry))
        async with ClientSession(connector=connector) as session:
            wish = {"secrets": ["db"]}
            async with session.post("http://localhost/refresh", json=wish) as answer:
                assert answer.status == 202, await answer.text()

    async def leases(self) -> list[str]:
        return await asyncio.to_thread(self.database.leases)

    async def tokens(self) -> list[str]:
        return await asyncio.to_thread(self.scene.tokens)


async def live(cell: Cell, bao: Bao, postgres: Postgres) -> None:
    """AssertionError where a promise was broken."""
    async with plant(bao, postgres) as it:
        await die(cell, it)
        it.app.is_choosy = False
        agent = await it.start(it.configuration())
        await agent.event("ready", within=LONG)
        await settled(it, agent, "after the restart")
        if cell.phase is Phase.END:  # what was given back at that end
            it.app.dead.clear()
        before = it.app.user
        await it.refresh()
        await until(agent, "another credential is in use", lambda: is_other(it, before))
        await settled(it, agent, "after a rotation")
        await until(agent, "exactly the lease in use is left", lambda: holds_one(it))
        assert not it.app.dead, f"dead credentials in the files: {it.app.dead}{agent.story()}"
        assert (await agent.stop(within=LONG)).code == 0, agent.story()
        assert not await it.leases(), f"leases are left{agent.story()}"
        left = len(await it.tokens())
        assert left == (1 if cell.leaves_token else 0), f"{left} tokens are left{agent.story()}"


async def die(cell: Cell, it: Plant) -> None:
    """One life, until it is killed."""
    words = [sys.executable, "-m", "tests.rig.killed", cell.point]
    agent = await it.start(it.configuration(), within=words)
    if cell.phase is not Phase.FIRST_START:
        await agent.event("ready", within=LONG)
        await settled(it, agent, "at first")
        it.app.is_choosy = cell.phase is Phase.WAY_BACK
        if cell.phase is Phase.END:
            agent.send(signal.SIGTERM)
        else:
            await it.refresh()
    done = await agent.wait(within=LONG)
    assert done.code == -signal.SIGKILL, f"it was not killed: {done.code}{agent.story()}"


async def settled(it: Plant, agent: Leasehold, when: str) -> None:
    """The app works with what the files hold."""

    async def is_settled() -> bool:
        return it.app.is_told and await it.app.works()

    await until(agent, f"the app works with what is there, {when}", is_settled)
    await agent.event("bundle_moved", state="waiting", within=LONG)


async def is_other(it: Plant, user: str) -> bool:
    return it.app.is_told and it.app.user != user


async def holds_one(it: Plant) -> bool:
    return len(await it.leases()) == 1


async def until(agent: Leasehold, what: str, so: Callable[[], Awaitable[bool]]) -> None:
    try:
        async with asyncio.timeout(LONG):
            while not await so():  # noqa: ASYNC110  # it is outside of this process
                await asyncio.sleep(5 * EVERY)
    except TimeoutError:
        raise AssertionError(f"never so: {what}{agent.story()}") from None


@asynccontextmanager
async def plant(bao: Bao, postgres: Postgres) -> AsyncIterator[Plant]:
    """All that one life needs; nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="leasehold-killed-"))
    memory = Path(tempfile.mkdtemp(prefix="leasehold-killed-", dir="/dev/shm"))
    proxy = Proxy(bao.address)
    await proxy.start()
    start = Start(folder)
    app = App(postgres, memory / "app")
    try:
        scene, database = await asyncio.to_thread(_built, bao, postgres, proxy, folder, memory)
        async with app.on(memory / "app.sock"), asyncio.TaskGroup() as group:
            probing = group.create_task(app.probe(), name="prober")
            try:
                yield Plant(scene, database, start, app)
            finally:
                probing.cancel()
    except* AssertionError as failed:
        raise failed.exceptions[0] from None
    finally:
        await start.close()
        await proxy.close()
        shutil.rmtree(folder)
        shutil.rmtree(memory)
    await asyncio.to_thread(bao.unmount, database.mount)


def _built(
    bao: Bao, postgres: Postgres, proxy: Proxy, folder: Path, memory: Path
) -> tuple[Scene, Database]:
    scene = Scene(bao, proxy, folder, memory, token_ttl="1h")
    scene.kv.put("kv", password=value())
    database = database_of_a_cell(bao, postgres, ttl="1h")
    scene.allow(database.path, "read")
    return scene, database
