"""docs/apps/node.md: a pool of connections that follows a file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.rig.apps import Host
from tests.rig.needs import needs_file, needs_program
from tests.rig.orders import Orders

PG = "/var/tmp/leasehold-tools/node-example/node_modules/pg/package.json"

pytestmark = pytest.mark.timeout(300)


def installed(host: Host) -> Path:
    """The example where its user can read it, with what `npm ci` has brought."""
    needs_program("node")
    package = needs_file(PG, "what the example depends on: tests/deploy/prepare")
    folder = host.walk.folder / "app"
    shutil.copytree(host.walk.example, folder, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(Path(package).parents[1], folder / "node_modules")
    return folder


def own_folder(host: Host) -> Path:
    """Of the app's user."""
    folder = host.walk.folder / "orders"
    folder.mkdir()
    os.chown(folder, host.walk.uid, host.walk.uid)
    return folder


async def test_no_query_fails_whatever_becomes_of_credentials(shop: Orders) -> None:
    app_folder, loaded = installed(shop.host), own_folder(shop.host) / "loaded"
    await shop.set_up("node")
    agent = await shop.host.agent(LOADED=loaded)
    app = await shop.host.walk.app(
        *("node", app_folder / "app.js"),
        says="listening on",
        PGHOST=str(shop.postgres.host),
        PGDATABASE="orders",
        BUNDLE=f"{shop.host.memory}/orders",
        LOADED=str(loaded),
        LISTEN=shop.address,
    )
    await shop.rotations(agent, app)
