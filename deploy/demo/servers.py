"""The demo's real OpenBao and PostgreSQL, set up as an operator would."""

from __future__ import annotations

from pathlib import Path

from tests.rig.bao_client import Bao
from tests.rig.postgres import CREATE, Postgres

HERE = Path(__file__).parent
KEY_PATH = "secret/data/greeting"
ROLE_PATH = "auth/approle/role/demo"


def greet(bao: Bao, text: str) -> None:
    """A new version of the KV value."""
    bao.request("POST", KEY_PATH, {"data": {"text": text}})


def set_up(bao: Bao, postgres: Postgres, home: Path, *, ttl: str, max_ttl: str) -> None:
    """A value, database roles on demand, the least policy, and an identity in two files."""
    greet(bao, "good morning")
    bao.request("POST", "sys/mounts/database", {"type": "database"})
    connection = {
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": ["app"],
        "connection_url": f"postgresql://{{{{username}}}}@/postgres?host={postgres.host}",
        "username": "postgres",
    }
    bao.request("POST", "database/config/main", connection)
    role = {"db_name": "main", "creation_statements": [CREATE]}
    bao.request("POST", "database/roles/app", role | {"default_ttl": ttl, "max_ttl": max_ttl})

    policy = (HERE / "policy.hcl").read_text()
    bao.request("PUT", "sys/policies/acl/demo", {"policy": policy})
    bao.request("POST", "sys/auth/approle", {"type": "approle"})
    bao.request("POST", ROLE_PATH, {"token_policies": ["demo"], "token_ttl": "30s"})
    role_id = bao.request("GET", f"{ROLE_PATH}/role-id")["data"]["role_id"]
    secret_id = bao.request("POST", f"{ROLE_PATH}/secret-id")["data"]["secret_id"]
    for name, text in (("role-id", role_id), ("secret-id", secret_id)):
        (home / name).write_text(text)
        (home / name).chmod(0o600)
