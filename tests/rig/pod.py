"""An agent and an app as a pod has them: a volume in memory, and an account at the vault."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from tests.rig.containers import RESTRICTED, Container, Containers
from tests.rig.images import APP, CHECKOUT, USER
from tests.rig.processes import free_port
from tests.rig.scene import Configuration, Scene, value

SECRETS, KEPT = "/run/secrets", "/var/lib/leasehold"
THE_APP = CHECKOUT / "deploy/compose/app.py"


class Pod:
    """The vault and the network are the host's. `kept` is a folder that outlives all containers."""

    def __init__(self, containers: Containers, scene: Scene) -> None:
        self.containers, self.scene = containers, scene
        self.etc, self.kept = scene.folder / "etc", scene.folder / "kept"
        self.port, self.telemetry = free_port(), f"127.0.0.1:{free_port()}"
        for each in (self.etc, self.kept):
            each.mkdir()
            os.chown(each, USER, USER)
        shutil.copy(scene.secret_id_file, self.etc / "secret-id")
        shutil.copy(THE_APP, self.etc / "app.py")
        os.chown(self.etc / "secret-id", USER, USER)
        (self.etc / "secret-id").chmod(0o400)
        self.put("one")
        self.configure()

    def put(self, label: str) -> None:
        """New settings of the app."""
        self.scene.kv.put("app", label=label, password=value())

    def keep(self, name: str, text: str) -> None:
        """A file of the agent's own in the folder that outlives it."""
        (self.kept / name).write_text(text)
        (self.kept / name).chmod(0o600)
        os.chown(self.kept / name, USER, USER)

    def configure(self, **sections: object) -> None:
        """What the agent has at its next start: `settings` in a bundle, and the sections given."""
        store = self.scene.store()
        store["auth"]["secret_id_file"] = "secret-id"
        configuration = {
            "stores": {"vault": store},
            "secrets": {"settings": self.scene.secret("app")},
            "bundles": {"app": self.bundle()},
            "telemetry": {"address": self.telemetry},
            "log": {"format": "json", "level": "debug"},
        }
        text = yaml.safe_dump(configuration | sections)
        (self.etc / "leasehold.yaml").write_text(text)

    def bundle(self, **changed: object) -> Configuration:
        return {
            "directory": f"{SECRETS}/app",
            "debounce": "50ms",
            "files": {"settings.json": {"format": "json", "secrets": ["settings"]}},
            "notify": [{"signal": "HUP", "process": "/usr/local/bin/app"}],
            **changed,
        }

    async def agent(
        self,
        *command: str,
        volume: str | Path,
        options: Sequence[str] = (),
        image: str | None = None,
    ) -> Container:
        """leasehold, restricted as it can be; without a command what the image says: an agent."""
        mounts = (f"--volume={volume}:{SECRETS}", f"--volume={self.kept}:{KEPT}")
        return await self.containers.run(
            "agent",
            *command,
            image=image,
            options=[*RESTRICTED, *self._common(), *mounts, "--health-interval=disable", *options],
        )

    async def app(
        self, *command: str, volume: str | Path, options: Sequence[str] = ()
    ) -> Container:
        """The app, or another command in its image."""
        environment = (f"--env=PORT={self.port}", "--env=HOST=127.0.0.1")
        return await self.containers.run(
            "app",
            *(command or ("app", "/etc/leasehold/app.py")),
            image=APP,
            options=[*self._common(), *environment, f"--volume={volume}:{SECRETS}:ro", *options],
        )

    def _common(self) -> tuple[str, ...]:
        return ("--network=host", f"--volume={self.etc}:/etc/leasehold:ro")


@pytest.fixture
def pod(containers: Containers, scene: Scene) -> Pod:
    """Nothing in it runs yet."""
    return Pod(containers, scene)
