"""One cell's vault account, proxy, database, app and agent."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, UnixConnector

from tests.faults.matrix.app import App
from tests.faults.matrix.cells import STORE_TIMEOUT, TTL, Cell, Operation
from tests.rig.agent import Leasehold, Start
from tests.rig.app import ask
from tests.rig.bao_client import Bao, BaoError
from tests.rig.postgres import Database, Postgres, mount_database
from tests.rig.proxy import Proxy, Seen, When, path
from tests.rig.scene import Configuration, Scene, value
from tests.rig.waiting import another_second

CONFIRM_SECONDS = 60
"""Longer than any fault lasts, and what it is waited for."""

DROP = 'DROP ROLE IF EXISTS "{{name}}";'


@dataclass
class Plant:
    """A secret `db` with a lease and a secret `kv` without, in one bundle of one app."""

    cell: Cell
    scene: Scene
    databases: list[Database]
    start: Start
    app: App
    agent: Leasehold
    value: str = ""

    @property
    def credential(self) -> Path:
        return self.scene.memory / "app/credential"

    @property
    def configuration(self) -> Configuration:
        return configuration(self.scene, self.databases[0])

    def when(self, operation: Operation) -> When:
        """The requests of an operation, by path and method."""
        return requests_of(operation, self.scene, self.databases)

    def asked(self, operation: Operation) -> list[Seen]:
        """All of an operation until now."""
        return [seen for seen in self.scene.proxy.seen if self.when(operation)(seen)]

    async def launch(self) -> None:
        self.agent = await self.start(self.configuration)

    async def put(self) -> None:
        """Write a new value of `kv`."""
        self.value = value()
        try:
            await asyncio.to_thread(self.scene.kv.put, "kv", password=self.value)
        except BaoError as early:
            if early.status != 400:
                raise
            await another_second()  # a mount that is new is not ready at once
            await asyncio.to_thread(self.scene.kv.put, "kv", password=self.value)

    async def refresh(self, name: str) -> None:
        """Ask the agent for a fresh read."""
        async with ClientSession(connector=UnixConnector(str(self.scene.telemetry))) as session:
            wish = {"secrets": [name]}
            async with session.post("http://localhost/refresh", json=wish) as answer:
                assert answer.status == 202, await answer.text()

    async def status(self) -> dict[str, Any]:
        return dict(json.loads((await ask(self.scene.telemetry, "/status"))[1]))

    async def leases(self) -> list[str]:
        """The living ones of the database credential."""
        known = [await asyncio.to_thread(each.leases) for each in self.databases]
        return [lease for each in known for lease in each]

    def memory_mib(self, what: str) -> float:
        """Of the agent: VmRSS (resident now) or VmHWM (at its peak)."""
        status = Path(f"/proc/{self.agent.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(f"{what}:"))
        return int(line.split()[1]) / 1024


def requests_of(operation: Operation, scene: Scene, databases: list[Database]) -> When:
    reads = [*(each.path for each in databases), scene.kv.api("")]
    revocations = ("sys/leases/revoke", "auth/token/revoke-self")
    match operation:
        case Operation.LOGIN:
            return path(f"auth/{scene.role.mount}/login")
        case Operation.TOKEN_RENEWAL:
            return path("auth/token/renew-self")
        case Operation.PREFLIGHT:
            return path("sys/internal/ui/mounts/")
        case Operation.READ:
            return lambda seen: any(path(each, "GET")(seen) for each in reads)
        case Operation.LEASE_RENEWAL:
            return path("sys/leases/renew")
        case Operation.REVOKE:
            return lambda seen: any(path(each)(seen) for each in revocations)


def configuration(scene: Scene, database: Database) -> Configuration:
    """The agent's, as it is at first."""
    socket = f"http+unix:{scene.memory / 'app.sock'}"
    credential = "{{ db.username }} {{ db.password }}"
    bundle = scene.bundle(
        "app",
        {"credential": credential, "note": "{{ kv.password }}"},
        notify=[{"http": f"{socket}:/reload", "timeout": "2s"}],
        confirm={"http": f"{socket}:/health", "timeout": f"{CONFIRM_SECONDS}s", "every": "100ms"},
    )
    return scene.configuration(
        stores={"vault": scene.store(timeout=f"{STORE_TIMEOUT}s")},
        secrets={"db": {"path": database.path, "refresh_every": "1h"}, "kv": scene.secret("kv")},
        bundles={"app": bundle},
    )


@asynccontextmanager
async def plant(cell: Cell, bao: Bao, postgres: Postgres) -> AsyncIterator[Plant]:
    """All that one cell needs; nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="leasehold-cell-"))
    memory = Path(tempfile.mkdtemp(prefix="leasehold-cell-", dir="/dev/shm"))
    proxy = Proxy(bao.address)
    await proxy.start()
    start = Start(folder)
    try:
        built = await asyncio.to_thread(_built, cell, bao, postgres, proxy, folder, memory)
        scene, database = built
        app = App(postgres, memory / "app/credential")
        made = Plant(cell, scene, [database], start, app, agent=None)  # type: ignore[arg-type]
        yield made
    finally:
        await start.close()
        await proxy.close()
        shutil.rmtree(folder)
        shutil.rmtree(memory)
    for each in made.databases:
        await asyncio.to_thread(bao.unmount, each.mount)


def _built(
    cell: Cell, bao: Bao, postgres: Postgres, proxy: Proxy, folder: Path, memory: Path
) -> tuple[Scene, Database]:
    is_short_token = cell.operation is Operation.TOKEN_RENEWAL
    is_short_lease = cell.operation is Operation.LEASE_RENEWAL
    token = {"token_period": f"{TTL}s"} if is_short_token else {"token_ttl": "1h"}
    scene = Scene(bao, proxy, folder, memory, **token)
    database = database_of_a_cell(bao, postgres, ttl=f"{TTL}s" if is_short_lease else "1h")
    scene.allow(database.path, "read")
    return scene, database


def database_of_a_cell(bao: Bao, postgres: Postgres, *, ttl: str) -> Database:
    """A database engine whose role is dropped without more ado.

    By default OpenBao takes away each grant first, on catalogue rows that all roles of a server
    share: done for two roles at once, one of them fails. Cells that run at once are no part of each
    other's story.
    """
    database = mount_database(bao, postgres, ttl=ttl, max_ttl="24h")
    path = f"{database.mount}/roles/app"
    role = bao.request("GET", path)["data"]
    bao.request("POST", path, role | {"revocation_statements": [DROP]})
    return database
