"""Twenty rotations, bad ones among them, and nobody noticed: nginx and a pool of connections.

One agent serves a real nginx (a certificate by the PKI, and a pair that somebody keeps in KV) and a
real client of PostgreSQL. A load generator and the app's own workers count what fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.rig.agent import ROOT, Leasehold, Start
from tests.rig.app import ask
from tests.rig.nginx import Nginx, Site
from tests.rig.postgres import CREATE, Database, MakeDatabase, Postgres
from tests.rig.processes import Daemon
from tests.rig.scene import Scene
from tests.rig.waiting import eventually

ROTATIONS = 20
A_BAD_PAIR, A_BAD_ROLE = 7, 13
A_SHORT_LIFE, UNASKED = "6s", 2
A_RETRY = 30.0
"""PostgreSQL refuses to drop a role while another is granted the same; then it is tried again."""
GRANT = 'GRANT SELECT ON orders TO "{{name}}";'


def script(module: str, *arguments: object) -> Daemon:
    """A module of the tests as a process."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    return Daemon([sys.executable, "-m", module, *map(str, arguments)], environment)


class Stage:
    """Everything that takes part."""

    def __init__(self, scene: Scene, database: Database) -> None:
        self.scene, self.database = scene, database
        self.pki = scene.bao.pki()
        self.web = Site.at("app.example", scene.memory / "web")
        self.shop = Site.at("shop.app.example", scene.memory / "shop")
        self.nginx = Nginx(scene.folder, self.web, self.shop)
        self.pool_socket = scene.memory / "pool.sock"
        self.ca_file = scene.folder / "ca.pem"
        ca = scene.bao.request("GET", f"{self.pki}/cert/ca")["data"]["certificate"]
        self.ca_file.write_text(ca)
        scene.allow(f"{self.pki}/issue/web", "update")
        scene.allow(database.path, "read")

    # --- what is at the vault -----------------------------------------------------------------

    def put_pair(self, *, is_matching: bool) -> None:
        """A pair for the shop in KV, or a certificate with the key of another."""
        pairs = [self._issue() for _ in range(2)]
        certificate, key = pairs[0]["certificate"], pairs[0 if is_matching else 1]["private_key"]
        self.scene.kv.put("shop", certificate=certificate, private_key=key)

    def _issue(self) -> dict[str, str]:
        body = {"common_name": self.shop.name, "ttl": "1h"}
        return dict(self.scene.bao.request("POST", f"{self.pki}/issue/web", body)["data"])

    def set_role(self, *statements: str, ttl: str = "1h") -> None:
        role = {"db_name": "main", "creation_statements": list(statements)}
        role |= {"default_ttl": ttl, "max_ttl": ttl}
        self.scene.bao.request("POST", f"{self.database.mount}/roles/app", role)

    # --- the configuration --------------------------------------------------------------------

    def configuration(self) -> dict[str, Any]:
        scene = self.scene
        data = {"common_name": self.web.name, "ttl": "1h"}
        secrets = {
            "web": {"path": f"{self.pki}/issue/web", "data": data},
            "shop": scene.secret("shop", refresh_every="1h"),
            "db": {"path": self.database.path},
        }
        pem = {"format": "pem", "secrets": ["web"]}
        bundles = {
            "web": self._site(
                self.web,
                {"tls.crt": {**pem, "parts": ["certificate", "chain"]}},
                {"tls.key": {**pem, "parts": ["private_key"]}},
            ),
            "shop": self._site(
                self.shop,
                {"tls.crt": "{{ shop.certificate }}\n"},
                {"tls.key": "{{ shop.private_key }}\n"},
            ),
            "db": scene.bundle(
                "db",
                {"credential": "{{ db.username }} {{ db.password }}"},
                notify=[{"http": f"http+unix:{self.pool_socket}:/reload", "timeout": "5s"}],
                confirm={
                    "http": f"http+unix:{self.pool_socket}:/health",
                    "timeout": "3s",
                    "every": "50ms",
                },
            ),
        }
        return scene.configuration(secrets=secrets, bundles=bundles)

    def _site(self, site: Site, *files: dict[str, Any]) -> dict[str, Any]:
        check, command = self.nginx.check(site)
        contents = {name: content for each in files for name, content in each.items()}
        return self.scene.bundle(
            site.certificate.parent.name,
            contents | {"check.conf": check},
            validate={
                "checks": [{"certificate": "tls.crt", "key": "tls.key"}],
                "command": command,
                "timeout": "10s",
            },
            notify=[{"signal": "HUP", "pid_file": str(self.nginx.pid_file)}],
            confirm={"command": self.nginx.proof(site), "timeout": "10s", "every": "100ms"},
        )

    # --- who is counted -----------------------------------------------------------------------

    @asynccontextmanager
    async def under_load(self, postgres: Postgres) -> AsyncIterator[Counts]:
        """nginx and the app at work; the counts are known afterwards."""
        credential, counts = self.scene.memory / "db/credential", Counts()
        app = script("tests.deploy.pool_app", postgres.host, credential, self.pool_socket)
        await asyncio.to_thread(self.nginx.start)
        await asyncio.to_thread(app.wait_for_line, "ready")
        sites = [f"{each.name}:{each.port}" for each in (self.web, self.shop)]
        load = script("tests.deploy.load", self.ca_file, *sites)
        try:
            yield counts
            counts.app = json.loads((await ask(self.pool_socket, "/counts"))[1])
            await asyncio.to_thread(load.end)
            counts.load = json.loads(load.lines[-1])
        finally:
            for each in (load, app):
                if each.is_running:
                    await asyncio.to_thread(each.end, signal.SIGKILL)
            await asyncio.to_thread(self.nginx.close)


class Counts:
    """What the load generator and the app have counted."""

    def __init__(self) -> None:
        self.load: dict[str, Any] = {}
        self.app: dict[str, Any] = {}


@pytest.fixture
def stage(scene: Scene, database: MakeDatabase, postgres: Postgres) -> Stage:
    postgres.execute("CREATE TABLE IF NOT EXISTS orders AS SELECT 1 AS amount")
    stage = Stage(scene, database(ttl="1h"))
    stage.set_role(CREATE, GRANT)
    stage.put_pair(is_matching=True)
    return stage


async def refresh(leasehold: Start, *names: str) -> None:
    """The real command."""
    done = await (await leasehold(command="refresh", arguments=names)).wait()
    assert done.code == 0, done


async def a_good_rotation(leasehold: Start, agent: Leasehold, *names: str) -> None:
    await refresh(leasehold, *names)
    for name in names:
        await agent.event("bundle_confirmed", bundle=name, within=20)


async def a_bad_pair(leasehold: Start, agent: Leasehold, stage: Stage) -> None:
    """It is never published; what is good again is."""
    stands = (stage.scene.memory / "shop/..data").readlink()
    stage.put_pair(is_matching=False)
    await refresh(leasehold, "shop")
    failed = await agent.event("bundle_failed", bundle="shop", step="validate")
    assert failed["level"] == "error" and "tls.key" in failed["reason"]
    assert (stage.scene.memory / "shop/..data").readlink() == stands
    stage.put_pair(is_matching=True)
    await a_good_rotation(leasehold, agent, "shop")


async def a_bad_role(leasehold: Start, agent: Leasehold, stage: Stage) -> None:
    """The app does not take to it and keeps what it had; nothing of the other is left."""
    await eventually(lambda: len(stage.database.leases()) == 1, within=30)
    before = stage.database.leases()
    stage.set_role(CREATE)
    await refresh(leasehold, "db")
    back = await agent.event("bundle_rolled_back", bundle="db", within=20)
    assert back["level"] == "error" and "503" in back["reason"]
    await eventually(lambda: stage.database.leases() == before)
    stage.set_role(CREATE, GRANT)
    agent.skip()
    await refresh(leasehold, "db")
    await agent.event("bundle_confirmed", bundle="db", within=20)


async def short_lives(leasehold: Start, agent: Leasehold, stage: Stage) -> None:
    """Credentials that are replaced because they end, and not because somebody asks."""
    stage.set_role(CREATE, GRANT, ttl=A_SHORT_LIFE)
    await refresh(leasehold, "db")
    for _ in range(UNASKED):
        await agent.event("bundle_confirmed", bundle="db", within=20)
    stage.set_role(CREATE, GRANT)
    agent.skip()
    await a_good_rotation(leasehold, agent, "db")


async def test_twenty_rotations_and_no_request_failed(
    leasehold: Start, stage: Stage, postgres: Postgres
) -> None:
    agent = await leasehold(stage.configuration())
    await agent.event("ready", within=20)
    async with stage.under_load(postgres) as counts:
        for number in range(1, ROTATIONS + 1):
            if number == A_BAD_PAIR:
                await a_bad_pair(leasehold, agent, stage)
            elif number == A_BAD_ROLE:
                await a_bad_role(leasehold, agent, stage)
            else:
                await a_good_rotation(leasehold, agent, "web", "db")
        await short_lives(leasehold, agent, stage)
        await eventually(lambda: len(stage.database.leases()) == 1, within=A_RETRY)
    load, app = counts.load, counts.app
    assert not load["failed"], load["failures"]
    assert min(load["kept"], load["new"], load["slow"]) > ROTATIONS
    assert not app["refused"], app["reasons"]
    assert app["queries"] > ROTATIONS and len(app["users"]) >= ROTATIONS + UNASKED

    assert [user for user in app["users"] if postgres.has_role(user)] == app["users"][-1:]
    failed = {(each["bundle"], each["step"]) for each in agent.all("bundle_failed")}
    assert failed == {("shop", "validate"), ("db", "confirm")}
    assert {each["bundle"] for each in agent.all("bundle_rolled_back")} == {"db"}
    assert (await agent.stop()).code == 0
    assert not stage.database.leases() and not stage.scene.tokens()
