"""The shop of two pages of docs/apps: a table, roles that the vault makes, and an app that asks.

What both apps have to stand is told once, by `Orders.rotations`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.rig.agent import Leasehold
from tests.rig.apps import PATIENCE, Host
from tests.rig.http_load import load
from tests.rig.postgres import Postgres
from tests.rig.processes import Daemon, free_port
from tests.rig.waiting import another_second, eventually
from tests.rig.walkthrough import with_postgres

SERVER = "127.0.0.1:5432/orders"
"""Where the page's vault finds its database."""

ROLE, LIFE = "bao write database/roles/orders", "=20s"
A_LONG_LIFE, A_SHORT_LIFE = "=10m", "=10s"
MEMBERSHIP = " IN ROLE orders_app"
ROTATIONS = 3


class Orders:
    """One page's database, vault and account; `address` is where its app listens."""

    def __init__(self, host: Host, postgres: Postgres) -> None:
        self.host, self.postgres = host, postgres
        self.address = f"127.0.0.1:{free_port()}"

    async def set_up(self, page: str) -> None:
        """As the page says, with credentials of a long life."""
        socket = {SERVER: f"/orders?host={self.postgres.host}"}
        await self.host.follow("CREATE TABLE orders")
        await self.host.follow("bao secrets enable database", changed=socket)
        await self.roles_live(A_LONG_LIFE)
        await self.host.follow("bao policy write", f"apps/{page}.yaml")

    async def roles_live(self, ttl: str) -> None:
        """From the next credential on."""
        await self.host.follow(ROLE, changed={LIFE: ttl})

    def leases(self) -> list[str]:
        return self.host.bao.leases("database/creds/orders")

    # --- what happens to it -------------------------------------------------------------------

    async def rotations(self, agent: Leasehold, app: Daemon) -> None:
        """Under load no request fails; at the end nothing is left."""
        async with load(f"http://{self.address}") as counts:
            for _ in range(ROTATIONS):
                await self.rotate(agent)
            await self.freeze(agent, app)
            await self.mistake(agent)
            await self.roles_live(A_SHORT_LIFE)
            await self.rotate(agent)
            await agent.event("bundle_confirmed", bundle="orders", within=PATIENCE)
            await self.roles_live(A_LONG_LIFE)
            await self.rotate(agent)
            await eventually(lambda: len(self.leases()) == 1, within=PATIENCE)
        assert not counts.failures, counts.failures[:10]
        assert counts.answered > 100 and len(counts.users) >= ROTATIONS + 4
        assert (await agent.stop(within=PATIENCE)).code == 0
        assert not self.leases()

    async def rotate(self, agent: Leasehold) -> None:
        """By the command, until the app has confirmed."""
        agent.skip()
        await self.host.refresh("database")
        await agent.event("bundle_confirmed", bundle="orders", within=PATIENCE)

    async def freeze(self, agent: Leasehold, app: Daemon) -> None:
        """An app that can't confirm keeps what it has, and goes on with it."""
        await eventually(lambda: len(self.leases()) == 1, within=PATIENCE)
        agent.skip()
        app.send(signal.SIGSTOP)
        await self.host.refresh("database")
        await agent.event("bundle_published", bundle="orders", within=PATIENCE)
        await another_second()
        await another_second()
        kept = self.leases()
        app.send(signal.SIGCONT)
        assert len(kept) == 2
        await agent.event("bundle_confirmed", bundle="orders", within=PATIENCE)
        await eventually(lambda: len(self.leases()) == 1, within=PATIENCE)

    async def mistake(self, agent: Leasehold) -> None:
        """Somebody forgets what a role may do: the app stays with the one that it has."""
        agent.skip()
        await self.host.follow(ROLE, changed={MEMBERSHIP: "", LIFE: A_SHORT_LIFE})
        await self.host.refresh("database")
        await agent.event("bundle_rolled_back", bundle="orders", within=PATIENCE)


@contextmanager
def orders(host: Host) -> Iterator[Orders]:
    """With a database of the page's own."""
    with with_postgres(host.walk) as postgres:
        yield Orders(host, postgres)
