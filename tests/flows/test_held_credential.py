"""A leased database credential is never the one that just died."""

from __future__ import annotations

from tests.rig.agent import Start
from tests.rig.held_credential import hold_a_credential
from tests.rig.postgres import MakeDatabase, Postgres
from tests.rig.scene import Scene


async def test_a_rotation_is_no_outage_azure_csi_606(
    leasehold: Start, scene: Scene, database: MakeDatabase, postgres: Postgres
) -> None:
    made = database(ttl="4s", max_ttl="12s")
    app = await hold_a_credential(leasehold, scene, made, postgres, seconds=30, every=0.25)
    assert len(app.users) >= 3
