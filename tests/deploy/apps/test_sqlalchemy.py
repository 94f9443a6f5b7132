"""docs/apps/sqlalchemy.md: a pool of connections that asks for its credential, and follows it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.rig.agent import ROOT, Leasehold
from tests.rig.apps import PATIENCE, Host
from tests.rig.http_load import Counts
from tests.rig.orders import Orders
from tests.rig.processes import Daemon

pytestmark = pytest.mark.timeout(300)


def installed(host: Host) -> Path:
    """The example with the client beside it."""
    folder = host.walk.folder / "app"
    shutil.copytree(host.walk.example, folder)
    (folder / "agent").mkdir()
    shutil.copy(ROOT / "agent" / "client.py", folder / "agent")
    return folder


async def opened(shop: Orders) -> tuple[Leasehold, Daemon]:
    """Everything that the page starts."""
    await shop.set_up("sqlalchemy")
    agent = await shop.host.agent(GRACE="1s")
    app = await shop.host.walk.app(
        *(sys.executable, installed(shop.host) / "app.py"),
        says="in use as",
        PYTHONWARNINGS="error",
        DATABASE_URL=f"postgresql+psycopg:///orders?host={shop.postgres.host}",
        LEASEHOLD_SOCKET=f"{shop.host.memory}/secrets.sock",
        BUNDLE=f"{shop.host.memory}/orders",
        LISTEN=shop.address,
    )
    return agent, app


async def test_no_query_fails_whatever_becomes_of_credentials(shop: Orders) -> None:
    agent, app = await opened(shop)
    await shop.rotations(agent, app)
    reasons = [each["reason"] for each in agent.all("bundle_rolled_back")]
    assert all("does not work: InsufficientPrivilege" in each for each in reasons)
    assert not [line for line in app.lines if "Warning" in line or "Traceback" in line]


async def test_a_credential_that_is_revoked_outside_is_refused_and_replaced(shop: Orders) -> None:
    agent, _ = await opened(shop)
    async with ClientSession() as session:
        counts, url = Counts(), f"http://{shop.address}"
        await counts.ask(session, url)
        (lease,) = shop.leases()
        shop.host.bao.revoke_lease(lease)
        await counts.ask(session, url)  # its session has no rights any more
        await agent.event("bundle_confirmed", bundle="orders", generation=2, within=PATIENCE)
        await counts.ask(session, url)
    assert counts.answered == 2 and len(counts.users) == 2
    assert [each[:3] for each in counts.failures] == ["500"]
