"""What a page of docs/apps tells its reader to do, done: its commands, its example app.

The vault is one of the page's own, so its mounts have the page's names. The app is another user's
where we are root.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from tests.rig.agent import ROOT, Leasehold, Start
from tests.rig.bao_server import ROOT_TOKEN, DevServer, binary
from tests.rig.needs import needs_program
from tests.rig.peers import open_folder
from tests.rig.postgres import Postgres
from tests.rig.processes import Daemon

APP_UID = 61001
SH = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Walkthrough:
    """One page, gone through from its first command on.

    `folder` and `memory` may be looked into by every user, `environment` is what the reader has
    exported; `app_environment` is the app's alone.
    """

    def __init__(self, page: str, folder: Path, memory: Path, server: DevServer) -> None:
        self.text = (ROOT / "docs" / "apps" / f"{page}.md").read_text(encoding="utf-8")
        self.configuration = ROOT / "configs" / "apps" / f"{page}.yaml"
        self.example = ROOT / "deploy" / "examples" / page
        self.folder, self.memory, self.server = folder, memory, server
        self.uid = app_uid()
        self.environment = {
            "PATH": f"{binary().parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "VAULT_ADDR": server.address,
            "VAULT_TOKEN": ROOT_TOKEN,
            "CREDENTIALS_DIRECTORY": str(folder / "credentials"),
            "RUNTIME_DIRECTORY": str(memory),
            "APP_USER": str(self.uid),
        }
        self._apps: list[Daemon] = []

    async def sh(self, containing: str, changed: Mapping[str, str] = {}) -> str:
        """Run the one block of the page that contains this; its output.

        `changed`: what is written otherwise than there, as a time to live.
        """
        (block,) = [each for each in SH.findall(self.text) if containing in each]
        for before, after in changed.items():
            assert before in block, before
            block = block.replace(before, after)
        return await asyncio.to_thread(self._run, "bash", "-euo", "pipefail", "-c", block)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    # --- the agent ----------------------------------------------------------------------------

    async def agent(self, leasehold: Start, **environment: str) -> Leasehold:
        """With the configuration of the page; ready."""
        configuration = str(self.configuration)
        agent = await leasehold.command(
            *("agent", "-c", configuration), environment=self.environment | environment
        )
        await agent.event("ready", within=60)
        return agent

    async def refresh(self, leasehold: Start, *names: str) -> None:
        """The reader's `leasehold refresh`."""
        words = ("refresh", *names, "-c", str(self.configuration))
        done = await (await leasehold.command(*words, environment=self.environment)).wait()
        assert done.code == 0, done

    # --- the app ------------------------------------------------------------------------------

    async def app(self, *command: str | Path, says: str, **environment: str) -> Daemon:
        """The example, run by its own user, once it says so."""
        drop = ("setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--")
        words = [*(drop if os.geteuid() == 0 else ()), *map(str, command)]
        basis = {"PATH": self.environment["PATH"], "HOME": str(self.folder)}
        app = await asyncio.to_thread(Daemon, words, basis | environment)
        self._apps.append(app)
        await asyncio.to_thread(app.wait_for_line, says, within=60)
        return app

    def close(self) -> None:
        """No app is left."""
        for app in self._apps:
            if app.is_running:
                app.end(signal.SIGKILL)


@contextmanager
def walkthrough(page: str, memory: Path) -> Iterator[Walkthrough]:
    """A page with a vault of its own, and nothing left of it afterwards."""
    if os.geteuid() == 0:
        needs_program("setpriv")
    memory.chmod(0o755)
    with open_folder() as folder:
        server = DevServer(folder)
        walk = Walkthrough(page, folder, memory, server)
        try:
            yield walk
        finally:
            walk.close()
            server.close()


def app_uid() -> int:
    """A user of the app's own, if we may choose and it could read the programs that we have."""
    if os.geteuid() != 0:
        return os.geteuid()
    return APP_UID if all(is_open(each) for each in (ROOT, Path(sys.prefix))) else 0


def is_open(folder: Path) -> bool:
    """Whether every user may go there."""
    with suppress(OSError):
        return all(each.stat().st_mode & 0o005 for each in (folder, *folder.parents))
    return False


@contextmanager
def with_postgres(walk: Walkthrough) -> Iterator[Postgres]:
    """A PostgreSQL of the page's own, which every user can reach; `psql` finds it."""
    folder = Path(tempfile.mkdtemp(prefix="leasehold-pg-"))
    postgres = Postgres(folder)
    try:
        postgres.host.chmod(0o711)  # its socket is there
        walk.environment["PATH"] += f":{postgres_programs()}"
        walk.environment |= {"PGHOST": str(postgres.host), "PGUSER": "postgres"}
        yield postgres
    finally:
        postgres.close()
        shutil.rmtree(folder, ignore_errors=True)


def postgres_programs() -> Path:
    """The folder of `psql` and others, of the wheel that the server comes from."""
    package = find_spec("pgserver")
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "pginstall" / "bin"
