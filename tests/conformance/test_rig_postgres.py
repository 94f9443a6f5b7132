"""Credentials from the rig's database engine are real: they work, and then they do not."""

from __future__ import annotations

from tests.rig.bao_client import Bao
from tests.rig.postgres import MakeDatabase, Postgres


def test_a_leased_role_logs_in_until_its_lease_is_revoked(
    bao: Bao, database: MakeDatabase, postgres: Postgres
) -> None:
    made = database(ttl="20s", max_ttl="60s")
    answer = bao.request("GET", made.path)
    username, password = answer["data"]["username"], answer["data"]["password"]
    assert answer["lease_duration"] == 20
    assert postgres.can_log_in(username, password)
    assert not postgres.can_log_in(username, "wrong")
    assert made.leases() == [answer["lease_id"]]
    bao.revoke_lease(answer["lease_id"])
    assert not postgres.can_log_in(username, password)
    assert not postgres.has_role(username)
    assert made.leases() == [] and bao.lease(answer["lease_id"]) is None


def test_a_static_role_is_rotated(bao: Bao, database: MakeDatabase, postgres: Postgres) -> None:
    made = database()
    name = made.add_static_role(rotation_period="1h")
    first = bao.request("GET", made.static_path)["data"]
    assert first["username"] == name
    made.rotate_static_role()
    second = bao.request("GET", made.static_path)["data"]
    assert postgres.can_log_in(name, second["password"])
    assert not postgres.can_log_in(name, first["password"])
