"""An app that asked once by the socket: its login works for a grace after it was replaced."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.client import AsyncClient
from tests.rig.agent import Start
from tests.rig.cached import Cached
from tests.rig.postgres import MakeDatabase
from tests.rig.scene import Configuration, Scene
from tests.rig.waiting import eventually


class Asked(Cached):
    """Nothing but a listener: no bundle holds the credential."""

    @property
    def socket(self) -> str:
        return str(self.scene.memory / "secrets.sock")

    def asked_for(self, *, grace: str) -> Configuration:
        listener = {"protocol": "secrets", "socket": self.socket, "allow": [{"secrets": ["db"]}]}
        secrets = {"db": {"path": self.made.path, "grace": grace}}
        return self.configuration(secrets=secrets, bundles={}, listeners=[listener])

    async def ask(self) -> dict[str, Any]:
        return dict((await AsyncClient(self.socket).get("db")).value)

    async def logs_in(self, value: dict[str, Any]) -> bool:
        can_log_in = self.made.postgres.can_log_in
        return await asyncio.to_thread(can_log_in, value["username"], value["password"])

    async def replace(self, given: dict[str, Any]) -> dict[str, Any]:
        """The value that has taken its place."""
        await (await self.leasehold(command="refresh", arguments=["db"])).wait()
        async with asyncio.timeout(10):
            while (fresh := await self.ask()) == given:
                pass
        return fresh


@pytest.fixture
def asked(leasehold: Start, scene: Scene, database: MakeDatabase) -> Asked:
    return Asked(leasehold, scene, database)


async def test_it_works_through_its_grace_and_is_gone_after_it(asked: Asked) -> None:
    agent = await asked.start(configuration=asked.asked_for(grace="5s"))
    await agent.event("secret_read", secret="db")
    given = await asked.ask()
    (old,) = asked.made.leases()
    fresh = await asked.replace(given)
    assert await asked.logs_in(given) and await asked.logs_in(fresh)
    assert len(asked.made.leases()) == 2 and not agent.all("lease_revoked")
    await agent.event("lease_revoked", secret="db", within=20)
    assert asked.scene.bao.lease(old) is None and len(asked.made.leases()) == 1
    assert not await asked.logs_in(given) and await asked.logs_in(fresh)
    await agent.stop()
    assert not asked.made.leases()


async def test_without_grace_it_is_gone_once_it_is_replaced(asked: Asked) -> None:
    agent = await asked.start(configuration=asked.asked_for(grace="0s"))
    await agent.event("secret_read", secret="db")
    given = await asked.ask()
    await asked.replace(given)
    await agent.event("lease_revoked", secret="db")
    assert len(asked.made.leases()) == 1 and not await asked.logs_in(given)
    await agent.stop()


async def test_what_the_run_before_handed_out_has_its_grace_too(asked: Asked) -> None:
    configuration = asked.asked_for(grace="5s")
    agent = await asked.start("--keep-leases", configuration=configuration)
    await agent.event("secret_read", secret="db")
    given = await asked.ask()
    await asked.replace(given)
    await agent.stop()
    assert len(asked.made.leases()) == 2
    again = await asked.start(configuration=configuration)
    await again.event("token_resumed")
    await again.event("lease_renewed", secret="db")
    assert await asked.logs_in(given) and not again.all("lease_revoked")
    await again.event("lease_revoked", secret="db", within=20)
    await eventually(lambda: len(asked.made.leases()) == 1)
    assert not await asked.logs_in(given)
    await again.stop()
