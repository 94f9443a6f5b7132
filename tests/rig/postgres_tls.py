"""Debian's PostgreSQL as its own user, asked over TLS. (The one of `rig.postgres` has no TLS.)"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from tests.rig.needs import needs_file, needs_root
from tests.rig.processes import Daemon, free_port, running

USER = "postgres"
HBA = "hostssl all all 127.0.0.1/32 trust\n"


class TlsPostgres:
    """Its data is in `folder`; `settings` are lines of postgresql.conf. No TLS, no connection."""

    def __init__(self, folder: Path, settings: str) -> None:
        needs_root()
        self._programs = Path(needs_file("/usr/lib/postgresql/*/bin/initdb", "PostgreSQL")).parent
        self.port, self.data = free_port(), folder
        self.pid_file = folder / "postmaster.pid"
        folder.mkdir(mode=0o700)
        shutil.chown(folder, USER, USER)
        self._run("initdb", "--auth=trust", "--no-sync", f"--pgdata={folder}")
        own = f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"
        with (folder / "postgresql.conf").open("a") as file:
            file.write(own + settings)
        (folder / "pg_hba.conf").write_text(HBA)

    def running(self) -> AbstractAsyncContextManager[None]:
        return running(self._start, signal.SIGINT)

    def _start(self) -> Daemon:
        daemon = Daemon(
            ["setpriv", *self._as_user(), str(self._programs / "postgres"), "-D", str(self.data)],
            {"PATH": os.environ["PATH"]},
        )
        daemon.wait_for_line("ready to accept connections", within=60)
        return daemon

    def _run(self, program: str, *arguments: str) -> None:
        command = ["setpriv", *self._as_user(), str(self._programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=120, cwd="/")

    def _as_user(self) -> list[str]:
        return [f"--reuid={USER}", f"--regid={USER}", "--init-groups"]


class Client:
    """As apps connect that let nobody else be their server: sslmode=verify-full."""

    def __init__(self, name: str, port: int, ca_file: Path) -> None:
        self._conninfo = make_conninfo(
            host=name,
            hostaddr="127.0.0.1",
            port=port,
            user=USER,
            dbname="postgres",
            sslmode="verify-full",
            sslrootcert=str(ca_file),
            connect_timeout=60,
        )
        self._kept: psycopg.Connection | None = None
        self.connections = 0

    def kept(self) -> None:
        """A query on the connection that was there before."""
        if self._kept is None:
            self._kept = self._connected()
        self._kept.execute("SELECT 1")

    def new(self) -> None:
        """A connection, and a query on it."""
        with self._connected() as connection:
            connection.execute("SELECT 1")

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()

    def _connected(self) -> psycopg.Connection:
        self.connections += 1
        return psycopg.connect(self._conninfo, autocommit=True)
