"""A sidecar is paid for once per pod: what the files do not need is not imported before them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.rig.agent import Leasehold, Start
from tests.rig.local_store import local_store_in, made
from tests.rig.scene import Scene, value

IMPORTED = re.compile(r"import time: +\d+ \| +\d+ \| +([\w.]+)$")
LATER = {"prometheus_client", "rich", "jinja2", "watchfiles", "requests", "botocore"}


async def started(leasehold: Start, configuration: dict[str, object]) -> Leasehold:
    """An agent that is ready, and that tells what it imports."""
    agent = await leasehold(configuration, environment={"PYTHONPROFILEIMPORTTIME": "1"})
    await agent.event("ready")
    return agent


def imported_before_the_files(agent: Leasehold) -> set[str]:
    """Packages, by what Python itself says of each import."""
    there = next(i for i, line in enumerate(agent.err) if '"event":"bundle_published"' in line)
    found = (IMPORTED.search(line) for line in agent.err[:there])
    return {match[1].partition(".")[0] for match in found if match}


async def test_an_agent_of_vault_needs_neither_metrics_nor_templates_nor_cryptography(
    leasehold: Start, scene: Scene
) -> None:
    scene.kv.put("app", password=value())
    files = {"password": "{{ app.password }}", "env": {"format": "env", "secrets": ["app"]}}
    agent = await started(
        leasehold,
        {
            "stores": {"vault": scene.store()},
            "secrets": {"app": scene.secret("app")},
            "bundles": {"app": scene.bundle("app", files)},
        },
    )
    imported = imported_before_the_files(agent)
    assert {"agent", "aiohttp", "hvac"} <= imported
    assert not imported & {*LATER, "cryptography"}
    assert (await agent.stop()).code == 0


@pytest.fixture
def local_store(tmp_path: Path) -> dict[str, object]:
    """A store on disk with `app.password`; its section of a configuration."""
    spec = local_store_in(tmp_path)
    made(spec)
    return {"type": "local", "file": str(spec.file), "key": {"file": str(spec.key.file)}}


async def test_an_agent_of_a_local_store_needs_no_network(
    leasehold: Start, local_store: dict[str, object], memory_directory: Path
) -> None:
    bundle = {"directory": str(memory_directory / "app"), "files": {"p": "{{ app.password }}"}}
    agent = await started(
        leasehold,
        {
            "stores": {"local": local_store},
            "secrets": {"app": {"path": "app"}},
            "bundles": {"app": bundle},
        },
    )
    imported = imported_before_the_files(agent)
    assert {"agent", "cryptography"} <= imported
    assert not imported & {*LATER, "aiohttp", "hvac"}
    assert (await agent.stop()).code == 0
