"""A leased credential (TTL 20 s, 60 s at most) held for 150 s, with a login every 0.5 s."""

from __future__ import annotations

import pytest

from tests.rig.agent import Start
from tests.rig.held_credential import hold_a_credential
from tests.rig.postgres import MakeDatabase, Postgres
from tests.rig.scene import Scene


@pytest.mark.timeout(240)
async def test_a_credential_is_held_for_150_seconds(
    leasehold: Start, scene: Scene, database: MakeDatabase, postgres: Postgres
) -> None:
    made = database(ttl="20s", max_ttl="60s")
    app = await hold_a_credential(leasehold, scene, made, postgres, seconds=150, every=0.5)
    assert len(app.users) >= 3
