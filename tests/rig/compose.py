"""The project of deploy/compose, brought up by podman-compose with a vault of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.rig.bao_server import binary
from tests.rig.images import BASE, CHECKOUT, STORAGE, environment, inspected, podman

FOLDER = CHECKOUT / "deploy/compose"


class Project:
    """Services are started by name, and seen by what they log."""

    def __init__(self, folder: Path, image: str) -> None:
        self.name, self.credentials = f"leasehold-{os.getpid()}", folder / "credentials"
        self.credentials.mkdir()
        # The vault is the test's own binary, where its image would be pulled.
        vault = {"entrypoint": ["/srv/bao"], "volumes": [f"{binary()}:/srv/bao:ro"]}
        vault["environment"] = ["PATH=/srv:/usr/bin:/bin"]
        (folder / "here.yaml").write_text(yaml.safe_dump({"services": {"vault": vault}}))
        files = [FOLDER / "compose.yaml", FOLDER / "compose.demo.yaml", folder / "here.yaml"]
        self._command = [
            *(sys.executable, "-m", "podman_compose", f"--project-name={self.name}"),
            *(f"--podman-args={each}" for each in STORAGE),
            *(f"--file={file}" for file in files),
        ]
        images = {"LEASEHOLD_IMAGE": image, "APP_IMAGE": BASE, "VAULT_IMAGE": BASE}
        self._environment = environment() | images | {"CREDENTIALS": str(self.credentials)}

    def compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`podman-compose …` to its end."""
        return subprocess.run(
            [*self._command, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def up(self, *services: str) -> None:
        done = self.compose("up", "--detach", "--no-recreate", *services)
        assert done.returncode == 0, done.stdout + done.stderr
        for each in services:
            assert self.seen(each, "{{.State.Running}}") == "true", self.log(each)

    def execute(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in the container of a service."""
        return podman("exec", f"{self.name}_{service}_1", *command)

    def log(self, service: str) -> str:
        done = podman("logs", f"{self.name}_{service}_1")
        return done.stdout + done.stderr

    def seen(self, service: str, template: str) -> str:
        """A property of its container."""
        return inspected(f"{self.name}_{service}_1", template)


@contextmanager
def project(folder: Path, image: str) -> Iterator[Project]:
    """Nothing of it is up yet; nothing is left afterwards."""
    here = Project(folder, image)
    try:
        yield here
    finally:
        done = here.compose("down", "--volumes", "--timeout", "20")
        assert done.returncode == 0, done.stdout + done.stderr
