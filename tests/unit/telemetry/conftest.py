"""What the telemetry listens to and reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.model import (
    AppRole,
    Bundle,
    Configuration,
    InlineFile,
    LocalKey,
    LocalStore,
    VaultStore,
)
from agent.ledger import Ledger
from agent.telemetry.status import Status
from tests.rig.clock import JumpClock


@pytest.fixture
async def ledger(clock: JumpClock) -> Ledger:
    return Ledger(clock)


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """A vault, a local store and two bundles."""
    return Configuration(
        stores={
            "vault": VaultStore(auth=AppRole()),
            "local": LocalStore(file=tmp_path / "sealed", key=LocalKey(file=tmp_path / "key")),
        },
        bundles={
            name: Bundle(directory=tmp_path / name, files={"file": InlineFile(content="x")})
            for name in ("app", "web")
        },
    )


@pytest.fixture
async def status(ledger: Ledger, clock: JumpClock, configuration: Configuration) -> Status:
    status = Status(ledger, clock, redact=lambda text: text.replace("hunter2", "[redacted]"))
    status.expect(configuration)
    return status
