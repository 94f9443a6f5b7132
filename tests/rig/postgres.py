"""Fixtures: a real PostgreSQL, and roles in it that OpenBao makes and takes away."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.rig.bao_client import Bao, unique

CREATE = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"
PASSWORDS_ARE_CHECKED = "local all postgres trust\nlocal all all scram-sha-256\n"


class Postgres:
    """On a UNIX socket in `folder`. `postgres` may do all, every other role needs its password."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pgserver.postgres_server import get_server

            self._server = get_server(folder / "data", cleanup_mode="stop")
        self.host = self._server.get_postmaster_info().socket_dir
        (folder / "data" / "pg_hba.conf").write_text(PASSWORDS_ARE_CHECKED)
        self.execute("SELECT pg_reload_conf()")

    def execute(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        """As `postgres`; the rows, if there are any."""
        import psycopg

        with psycopg.connect(
            host=str(self.host), user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def can_log_in(self, username: str, password: str) -> bool:
        """A real login, now."""
        import psycopg

        try:
            psycopg.connect(
                host=str(self.host), user=username, password=password, dbname="postgres"
            ).close()
        except psycopg.OperationalError:
            return False
        return True

    def has_role(self, username: str) -> bool:
        return bool(self.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", username))

    def close(self) -> None:
        self._server.cleanup()


@dataclass(frozen=True)
class Database:
    """A database engine of a test's own."""

    bao: Bao
    postgres: Postgres
    mount: str

    @property
    def path(self) -> str:
        """Each read makes a role in PostgreSQL."""
        return f"{self.mount}/creds/app"

    @property
    def static_path(self) -> str:
        """The password of one role, which OpenBao changes from time to time."""
        return f"{self.mount}/static-creds/fixed"

    def leases(self) -> list[str]:
        return self.bao.leases(self.path)

    def add_static_role(self, *, rotation_period: str) -> str:
        """The role's name in PostgreSQL; read it at `static_path`."""
        name = unique("static").replace("-", "_")
        self.postgres.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'first'")
        body = {"db_name": "main", "username": name, "rotation_period": rotation_period}
        self.bao.request("POST", f"{self.mount}/static-roles/fixed", body)
        return name

    def rotate_static_role(self) -> None:
        self.bao.request("POST", f"{self.mount}/rotate-role/fixed")


def mount_database(bao: Bao, postgres: Postgres, *, ttl: str, max_ttl: str) -> Database:
    """A database engine with the role `app`."""
    mount = bao.mount("database")
    url = f"postgresql://{{{{username}}}}:{{{{password}}}}@/postgres?host={postgres.host}"
    connection = {
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": ["app", "fixed"],
        "connection_url": url,
        "username": "postgres",
        "password": "unused",
    }
    bao.request("POST", f"{mount}/config/main", connection)
    role = {"db_name": "main", "creation_statements": [CREATE]}
    role |= {"default_ttl": ttl, "max_ttl": max_ttl}
    bao.request("POST", f"{mount}/roles/app", role)
    return Database(bao, postgres, mount)


MakeDatabase = Callable[..., Database]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One for each worker. Its folder is short: a socket's path has 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="leasehold-pg-"))
    server = Postgres(folder)
    yield server
    server.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(bao: Bao, postgres: Postgres) -> Iterator[MakeDatabase]:
    """`database(ttl="20s", max_ttl="60s")` on the shared OpenBao; `bao=` for another."""
    made: list[Database] = []

    def make(*, ttl: str = "1h", max_ttl: str = "24h", bao: Bao = bao) -> Database:
        made.append(mount_database(bao, postgres, ttl=ttl, max_ttl=max_ttl))
        return made[-1]

    yield make
    for each in made:
        with suppress(OSError):  # its own server may be gone
            each.bao.unmount(each.mount)
