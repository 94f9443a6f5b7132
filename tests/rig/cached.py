"""An agent with a sealed cache: a leased credential and a plain secret, in files, with an app."""

from __future__ import annotations

import json
import secrets as random
from typing import Any

from tests.rig.agent import Leasehold, Start
from tests.rig.app import Diary, ask
from tests.rig.postgres import Database, MakeDatabase
from tests.rig.scene import Configuration, Scene, value
from tests.rig.waiting import eventually


class Cached:
    """`start()` is a run of the agent; the app keeps a diary of what it is told."""

    def __init__(
        self, leasehold: Start, scene: Scene, database: MakeDatabase, **options: Any
    ) -> None:
        self.leasehold, self.scene = leasehold, scene
        self.made: Database = database(**options)
        self.diary = Diary(scene.folder)
        self.file = scene.folder / "cache"
        self.key = scene.folder / "cache-key"
        self.key.write_text(random.token_hex(32))
        self.key.chmod(0o600)
        self.value = value()
        scene.kv.put("app", password=self.value)
        scene.allow(self.made.path, "read")

    def configuration(self, **sections: Any) -> Configuration:
        secrets = {"db": {"path": self.made.path}, "app": self.scene.secret("app")}
        files = {
            "user": "{{ db.username }} {{ db.password }}",
            "password": "{{ app.password }}",
        }
        bundle = self.scene.bundle("app", files, notify=[{"command": self.diary.command}])
        cache = {"file": str(self.file), "key": {"file": str(self.key)}}
        parts = {"secrets": secrets, "bundles": {"app": bundle}, "cache": cache}
        return self.scene.configuration(**parts | sections)

    async def start(
        self,
        *arguments: str,
        configuration: Configuration | None = None,
        command: str = "agent",
        is_ready: bool = True,
    ) -> Leasehold:
        agent = await self.leasehold(configuration or self.configuration(), command, arguments)
        if is_ready:
            await agent.event("ready")
        return agent

    async def settle(self, agent: Leasehold) -> None:
        """Both secrets are there, handed over, and that is on disk."""
        await agent.event("bundle_published", generation=1)
        await eventually(lambda: self.is_written_after(agent, "bundle_published"))

    def is_written_after(self, agent: Leasehold, name: str) -> bool:
        """The cache was written since that was told."""
        told = [each["event"] for each in agent.events]
        return "cache_written" in told[told.index(name) :]

    # --- what the app has, and what the vault knows -------------------------------------------

    def credential(self) -> tuple[str, str]:
        """What the app reads."""
        username, password = (self.scene.memory / "app/user").read_text().split()
        return username, password

    def works(self) -> bool:
        """The app's credential is alive."""
        return self.made.postgres.can_log_in(*self.credential())

    def logins(self) -> int:
        return self.scene.logins()

    def mints(self) -> int:
        """How often a credential was asked for."""
        return len(self.scene.proxy.requests(self.made.path))

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads((await ask(self.scene.telemetry, "/status"))[1])
        return status
