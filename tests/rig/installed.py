"""leasehold installed on a machine as a person would, with a real OpenBao and an app to look after.

The machine has no network: OpenBao is at a socket that it is given.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.rig.bao_auth import approle
from tests.rig.bao_client import Kv
from tests.rig.bao_server import Server
from tests.rig.nspawn import BOOKWORM, PROJECT, SITE, Distribution, Machine, machine
from tests.rig.postgres import Database, Postgres, mount_database
from tests.rig.waiting import eventually

PROGRAM = "/usr/local/bin/leasehold"
UNIT = "leasehold.service"
CREDENTIALS = "${{CREDENTIALS_DIRECTORY:-/run/credentials/{unit}}}"
"""As the service has it, and as root finds it beside the service."""
WITHIN = 60.0
"""Seconds, on a machine that is as busy as ours may be."""

LAUNCHER = """#!/bin/sh
export PYTHONPATH={site}:{folder} PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3.11 -m agent "$@"
"""
APP = """[Service]
User={name}
RuntimeDirectory={name}
ExecStart=/bin/sh -c 'trap "cat {file} >>/run/{name}/log; echo >>/run/{name}/log" HUP; \\
  echo $$$$ >/run/{name}/pid; echo started >>/run/{name}/log; \\
  while :; do sleep 1 & wait $!; done'
ExecReload=/bin/kill -HUP $MAINPID
"""


class Vault:
    """A role at an OpenBao, with a KV mount and a database of the test's own."""

    def __init__(self, server: Server, postgres: Postgres | None = None) -> None:
        self.bao = bao = server.bao
        self.kv: Kv = bao.kv()
        self.database: Database | None = None
        paths: dict[str, tuple[str, ...]] = {
            f"{self.kv.mount}/data/*": ("read",),
            "sys/leases/revoke": ("update",),
        }
        if postgres is not None:
            self.database = mount_database(bao, postgres, ttl="1h", max_ttl="24h")
            paths[self.database.path] = ("read",)
        self.role = approle(bao, [bao.policy(paths)])

    def secret_id(self) -> str:
        return self.role.secret_id()

    def leases(self) -> list[str]:
        """Of credentials that live."""
        assert self.database is not None
        return sorted(self.database.leases())


class Installed:
    """The machine with a `leasehold` command, and users; nothing else is done."""

    def __init__(self, inside: Machine, vault: Vault) -> None:
        self.machine, self.vault = inside, vault

    # --- what a person does -------------------------------------------------------------------

    async def must(self, *command: str) -> str:
        """A command that has to succeed; its output."""
        done = await self.machine.do(*command, timeout=WITHIN)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    async def program(self, version: str = "1") -> None:
        """The command and a copy of the package, as root's; `version` is what it says of itself."""
        folder = f"/opt/leasehold-{version}"
        await self.must("mkdir", "-p", "-m", "0755", folder)
        await self.must("cp", "-r", "--no-preserve=mode,ownership", f"{PROJECT}/agent", folder)
        await self.must("chmod", "-R", "u=rwX,go=rX", folder)
        mark = f's/^__version__ = .*/__version__ = "{version}"/'
        await self.must("sed", "-i", mark, f"{folder}/agent/__init__.py")
        text = LAUNCHER.format(site=SITE, folder=folder)
        await self.machine.write(PROGRAM, text, mode="0755")

    async def install(self, *options: str) -> str:
        """`leasehold install --systemd`, inside."""
        return await self.must(PROGRAM, "install", "--systemd", *options)

    async def user(self, name: str) -> None:
        await self.must("useradd", "--system", "--no-create-home", "--user-group", name)

    async def app(self, name: str, file: str) -> None:
        """A unit that keeps, in /run/NAME/log, each value of `file` that it is told of."""
        await self.user(name)
        await self.machine.unit(f"{name}.service", APP.format(name=name, file=file))

    async def credentials(self, folder: str = "/etc/leasehold/credentials") -> None:
        """The ids and the cache's key."""
        found = {"role-id": self.vault.role.role_id, "secret-id": self.vault.secret_id()}
        for name, text in {**found, "cache-key": "ab" * 32}.items():
            await self.machine.write(f"{folder}/{name}", text, mode="0600")

    async def configure(self, name: str = "leasehold", **sections: Any) -> None:
        """The file of an agent; `vault` is its store."""
        unit = UNIT if name == "leasehold" else f"leasehold@{name}.service"
        auth = {
            "method": "approle",
            "mount": self.vault.role.mount,
            "role_id_file": f"{CREDENTIALS.format(unit=unit)}/role-id",
            "secret_id_file": f"{CREDENTIALS.format(unit=unit)}/secret-id",
            "remove_secret_id_file": False,
        }
        store = {"type": "vault", "address": "unix:/vault/bao.sock", "auth": auth}
        text = yaml.safe_dump({"stores": {"vault": store}, **sections}, sort_keys=False)
        await self.machine.write(f"/etc/leasehold/{name}.yaml", text)

    async def start(self, unit: str = UNIT) -> None:
        """Ready, or the journal as the reason."""
        done = await self.machine.do("systemctl", "start", unit, timeout=WITHIN)
        assert done.returncode == 0, await self.machine.journal()

    # --- what is seen -------------------------------------------------------------------------

    def secret(self, name: str) -> dict[str, str]:
        """The entry of a KV secret that is read each second."""
        return {"path": self.vault.kv.cli(name), "refresh_every": "1s"}

    def read(self, path: str) -> str:
        """A file; empty if there is none. Blocks."""
        return self.machine.run("cat", path).stdout

    def journal(self) -> str:
        """Blocks."""
        return self.machine.run("journalctl", "--no-pager", "-o", "cat").stdout

    async def becomes(self, path: str, text: str) -> None:
        """The file comes to be this."""
        await eventually(lambda: self.read(path) == text, within=WITHIN)

    async def logs(self, name: str, line: str, *, times: int = 1) -> None:
        """The app comes to have noted this."""

        def count() -> int:
            return self.read(f"/run/{name}/log").splitlines().count(line)

        await eventually(lambda: count() >= times, within=WITHIN)

    async def is_kept(self, file: str = "/run/leasehold/app/password") -> None:
        """What was handed over in `file` is in the cache."""
        newer = ("test", "/var/lib/leasehold/cache", "-nt", file)
        await eventually(lambda: self.machine.run(*newer).returncode == 0, within=WITHIN)

    async def pid(self, unit: str = UNIT) -> int:
        return int(await self.machine.shown(unit, "MainPID"))

    async def runs_anew(self, before: int, unit: str = UNIT) -> int:
        """Another process is ready, in place of `before`; its pid."""

        def now() -> int:
            shown = self.machine.run("systemctl", "show", "-P", "MainPID", unit).stdout
            active = self.machine.run("systemctl", "is-active", unit).stdout.strip()
            return int(shown or 0) if active == "active" else 0

        await eventually(lambda: now() not in (0, before), within=WITHIN)
        return now()

    async def owner(self, path: str) -> str:
        """`USER GROUP MODE` of what a path leads to."""
        return (await self.must("stat", "-L", "-c", "%U %G %a", path)).strip()

    async def exposure(self, unit: str = UNIT) -> float:
        """As systemd itself scores it."""
        said = await self.must("systemd-analyze", "security", "--no-pager", unit)
        return float(said.rpartition("level for")[2].split()[1])

    async def status(self) -> dict[str, Any]:
        """`leasehold status --json`."""
        said = await self.must(PROGRAM, "status", "--json", "-c", "/etc/leasehold/leasehold.yaml")
        status: dict[str, Any] = json.loads(said)
        return status


@cache
def _server() -> Server:
    """One for the whole process, which everybody may connect to.

    Not to be started by a thread: the kernel would end it with that.
    """
    folder = Path(tempfile.mkdtemp(prefix="leasehold-bao-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    server = Server(folder / "data", socket=folder / "bao.sock")
    atexit.register(server.close)
    (folder / "bao.sock").chmod(0o666)
    return server


@asynccontextmanager
async def installed(
    postgres: Postgres | None = None,
    *,
    distribution: Distribution = BOOKWORM,
    is_lasting: bool = False,
) -> AsyncIterator[Installed]:
    """The command is there, and not yet a service; a secret `app` has the password `one`."""
    server = _server()
    binds = {server.folder.parent: "/vault"}
    async with machine(distribution, is_lasting=is_lasting, binds=binds) as inside:
        vault = await asyncio.to_thread(Vault, server, postgres)
        vault.kv.put("app", password="one")
        here = Installed(inside, vault)
        await here.program()
        yield here
