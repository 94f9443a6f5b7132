"""An agent's account at a cluster, an app that logs in all the time, and gates on their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.rig.agent import Leasehold
from tests.rig.app import DatabaseApp
from tests.rig.balancer import Balancer
from tests.rig.gate import Gate
from tests.rig.postgres import Database, Postgres, mount_database
from tests.rig.proxy import Proxy
from tests.rig.raft import Cluster
from tests.rig.scene import Configuration, Scene
from tests.rig.waiting import eventually

BACK_WITHIN = 25.0
"""Seconds after which a cluster has a leader and the agent has noticed, with much to spare."""


@dataclass
class Clustered:
    """An agent's account at a cluster, and an app that logs in to PostgreSQL all the time."""

    cluster: Cluster
    scene: Scene
    postgres: Postgres
    database: Database
    checking: Gate
    confirming: Gate
    balancer: Balancer
    app: DatabaseApp = field(init=False)

    def __post_init__(self) -> None:
        self.socket = self.scene.memory / "app.sock"
        self.app = DatabaseApp(self.postgres, self.scene.memory / "app/credential")

    def configuration(self, **secret: Any) -> Configuration:
        """Two seconds for a request, since a frozen server gives no answer at all."""
        bundle = self.scene.bundle(
            "app",
            {"credential": "{{ db.username }} {{ db.password }}"},
            validate={"command": self.checking.command, "timeout": "30s"},
            notify=[{"http": f"http+unix:{self.socket}:/reload", "timeout": "1s"}],
            confirm={"command": self.confirming.command, "timeout": "30s"},
        )
        return self.scene.configuration(
            stores={"vault": self.scene.store(timeout="2s")},
            secrets={"db": {"path": self.database.path, **secret}},
            bundles={"app": bundle},
        )

    async def moves(self, what: Callable[[], object]) -> None:
        """Something that a cluster takes its time for."""
        await asyncio.to_thread(what)

    async def loses_quorum(self) -> None:
        """One of three is left awake."""
        for node in self.cluster.nodes[1:]:
            await asyncio.to_thread(self.cluster.lose, node, "frozen")

    def roles(self) -> set[str]:
        """Those that OpenBao has made in PostgreSQL, and has not taken away."""
        rows = self.postgres.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")
        return {name for (name,) in rows}

    async def ends_well(self, agent: Leasehold) -> None:
        """One lease is in use and there is no other; after the agent's end there is none at all.

        What was made for a request whose answer never came nobody knows of: its leases end with the
        agent's token, and a token that has none is left to its time.
        """
        await self.moves(self.cluster.repair)
        most = 1 + self._lost(self.database.path)
        await eventually(lambda: 1 <= len(self.database.leases()) <= most, within=BACK_WITHIN)
        assert self.app.refused == [], agent.story()
        assert (await agent.stop()).code == 0
        assert not self.database.leases()
        logins = f"auth/{self.scene.role.mount}/login"
        assert len(self.scene.tokens()) <= self._lost(logins)
        await eventually(lambda: not self.roles() & set(self.app.users))

    def _lost(self, path: str) -> int:
        """How many requests may have been answered, but not to us."""
        return len([seen for seen in self.scene.proxy.requests(path) if seen.status != 200])


@pytest.fixture
async def clustered(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    postgres: Postgres,
    tmp_path: Path,
    memory_directory: Path,
) -> AsyncIterator[Clustered]:
    """Nothing is started yet. The way to the cluster is recorded by a proxy.

    The parameter says what it leads to: a `standby`, or a `balancer` before all.
    """
    async with AsyncExitStack() as stack:
        balancer = Balancer(cluster.nodes, standbys=True)
        await stack.enter_async_context(balancer.listening())
        ways = {"standby": cluster.standbys[0].address, "balancer": balancer.address}
        proxy = Proxy(ways[request.param])
        await proxy.start()
        stack.push_async_callback(proxy.close)
        scene = Scene(cluster.bao, proxy, tmp_path, memory_directory, token_period="20s")
        database = mount_database(cluster.bao, postgres, ttl="20s", max_ttl="1h")
        scene.allow(database.path, "read")
        gates = Gate(tmp_path, "checking"), Gate(tmp_path, "confirming")
        yield Clustered(cluster, scene, postgres, database, *gates, balancer)
        await asyncio.to_thread(cluster.repair)
        cluster.bao.unmount(database.mount)
