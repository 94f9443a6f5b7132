"""An agent with local doors and an audit, and clients of every user."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.audit.verify import Verdict
from tests.rig.agent import Leasehold, Start
from tests.rig.audited import spec_of as audit_of
from tests.rig.audited import verdict_on
from tests.rig.needs import needs_program, needs_root
from tests.rig.peers import open_folder
from tests.rig.processes import die_with_parent
from tests.rig.scene import Configuration, Scene, value

ALICE, BOB = 61001, 61002
OUTPUT_ENDS_WITH = "\n%{http_code}"


class Doors:
    """Sockets in `folder`, which every user may look into; secrets `web` and `other` in KV."""

    def __init__(self, leasehold: Start, scene: Scene, folder: Path) -> None:
        self.leasehold, self.scene, self.folder = leasehold, scene, folder
        self.audit = audit_of(scene.folder)
        self.values = {name: value() for name in ("web", "other")}
        for name, each in self.values.items():
            scene.kv.put(name, password=each)

    def listener(self, name: str = "secrets", **changed: Any) -> Configuration:
        """A secrets listener at NAME.sock that leaves alice `web`."""
        allow = [{"user": str(ALICE), "secrets": ["web"]}]
        socket = str(self.folder / f"{name}.sock")
        parts = {"protocol": "secrets", "socket": socket, "mode": "0666", "allow": allow}
        return parts | changed

    def configuration(self, *listeners: Configuration, **sections: Any) -> Configuration:
        parts: Configuration = {
            "secrets": {name: self.scene.secret(name) for name in self.values},
            "listeners": list(listeners or [self.listener()]),
            "audit": {"file": str(self.audit.file)},
        }
        return self.scene.configuration(**parts | sections)

    async def start(self, configuration: Configuration | None = None, **options: Any) -> Leasehold:
        """Ready, with both secrets read."""
        agent = await self.leasehold(configuration or self.configuration(), **options)
        await agent.event("ready")
        for name in self.values:
            await agent.event("secret_read", secret=name)
        return agent

    # --- clients ------------------------------------------------------------------------------

    async def curl(
        self, path: str, *arguments: str, uid: int = ALICE, at: str = "secrets"
    ) -> tuple[int, str]:
        """Status and body as that user's curl has it."""
        code, out = await self.ran(
            *(needs_program("curl"), "-s", "-w", OUTPUT_ENDS_WITH, "--max-time", "20"),
            *("--path-as-is", "--unix-socket", str(self.folder / f"{at}.sock")),
            *(*arguments, f"http://localhost{path}"),
            uid=uid,
        )
        assert code == 0, (code, out)
        body, _, status = out.rpartition("\n")
        return int(status), body

    async def post(self, path: str, body: Configuration, **options: Any) -> int:
        arguments = ("-H", "Content-Type: application/json", "-d", json.dumps(body))
        return (await self.curl(path, *arguments, **options))[0]

    async def ran(self, *command: str, uid: int, **environment: str) -> tuple[int | None, str]:
        """Exit code and standard output of a program run by that user."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            user=uid,
            group=uid,
            extra_groups=[],
            preexec_fn=die_with_parent,
        )
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
        return process.returncode, out.decode()

    # --- the audit ----------------------------------------------------------------------------

    def records(self, event: str = "access") -> list[dict[str, Any]]:
        """Those of that event, in order."""
        assert self.audit.file is not None
        lines = self.audit.file.read_text().splitlines()
        return [each for each in map(json.loads, lines) if each.get("event") == event]

    async def verdict(self) -> Verdict:
        return await asyncio.to_thread(verdict_on, self.audit)


@pytest.fixture
def doors(leasehold: Start, scene: Scene) -> Iterator[Doors]:
    needs_root()
    with open_folder() as folder:
        yield Doors(leasehold, scene, folder)
