"""The story of a database credential that is leased, held, replaced and given up."""

from __future__ import annotations

from tests.rig.agent import Start
from tests.rig.app import DatabaseApp
from tests.rig.postgres import Database, Postgres
from tests.rig.scene import Scene


async def hold_a_credential(
    leasehold: Start,
    scene: Scene,
    database: Database,
    postgres: Postgres,
    *,
    seconds: float,
    every: float,
) -> DatabaseApp:
    """An agent serves an app for so long; nothing may be left of it afterwards."""
    socket = scene.memory / "app.sock"
    scene.allow(database.path, "read")
    bundle = scene.bundle(
        "app",
        {"credential": "{{ db.username }} {{ db.password }}"},
        notify=[{"http": f"http+unix:{socket}:/reload", "timeout": "1s"}],
    )
    agent = await leasehold(
        scene.configuration(secrets={"db": {"path": database.path}}, bundles={"app": bundle})
    )
    await agent.event("ready")
    app = DatabaseApp(postgres, scene.memory / "app/credential")
    async with app.on(socket):
        await app.work(seconds=seconds, every=every)
        order = [
            event["event"]
            for event in agent.events
            if event["event"] in ("bundle_published", "bundle_notified", "lease_revoked")
        ]
        assert (await agent.stop()).code == 0
    step = ["bundle_published", "bundle_notified", "lease_revoked"]
    assert order[1:] == step * ((len(order) - 1) // 3), order
    assert not app.refused, agent.story()
    assert agent.all("lease_renewed"), "it was renewed while it could be"
    assert not database.leases() and not scene.tokens()
    assert not [user for user in app.users if postgres.has_role(user)]
    assert not [event for event in agent.events if event["level"] in ("warning", "error")]
    return app
