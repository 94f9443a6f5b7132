"""The doors of an agent: what of them outlives a reload, and what must not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.app.doors import Doors, House
from agent.app.run_audit import NoAudit
from agent.config.listener_model import CredentialRule, CredentialsListener, SecretsListener
from agent.config.model import SecretEntry
from agent.core.errors import AgentError
from agent.core.secret import Reading, Secret
from agent.ledger import Ledger
from agent.telemetry.status import Status
from tests.rig.clock import JumpClock
from tests.rig.credentials import bound_name, loaded
from tests.rig.needs import needs_root
from tests.rig.peers import open_folder
from tests.rig.stores import Changes, Recorder


def house_of(ledger: Ledger, clock: JumpClock, group: asyncio.TaskGroup) -> House:
    """What these doors ask for: a ledger, and the names of the configuration."""
    configuration = SimpleNamespace(secrets={"database": SecretEntry(path="app")})
    composition = SimpleNamespace(ledger=ledger, configuration=configuration)
    return House(
        cast(Any, composition),
        Status(ledger, clock, redact=str),
        clock,
        Recorder(),
        Changes(),
        group.create_task,
        NoAudit().record,
    )


async def test_a_credentials_door_that_is_taken_away_lets_go_of_what_it_gave() -> None:
    needs_root()
    clock = JumpClock(idle_seconds=0.02)
    ledger = Ledger(clock)
    ledger.record("database", Reading(Secret({"password": "p"}), "1"), None)
    with open_folder() as folder:
        path = folder / "credentials.sock"
        rule = CredentialRule(secrets=("database",))
        spec = CredentialsListener(socket=str(path), allow=(rule,))
        async with asyncio.TaskGroup() as group:
            doors = Doors(group, house_of(ledger, clock, group))
            assert await doors.apply([spec]) == []
            assert await loaded(path, bound_name("app.service", "database")) == b"p"
            assert ledger.held("database") == {1}
            assert await doors.apply([]) == []
            assert ledger.held("database") == frozenset()


async def test_without_descriptors_a_door_is_not_had_and_the_agent_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left() -> bool:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("agent.api.listener.knows_processes", none_left)
    clock = JumpClock(idle_seconds=0.02)
    with open_folder() as folder:
        spec = SecretsListener(socket=str(folder / "secrets.sock"))
        async with asyncio.TaskGroup() as group:
            doors = Doors(group, house_of(Ledger(clock), clock, group))
            (problem,) = await doors.apply([spec])
            assert isinstance(problem, AgentError) and "Too many open files" in str(problem)
        assert not list(folder.iterdir()), "no socket is left behind"


async def test_nothing_of_abandoned_doors_is_left() -> None:
    clock = JumpClock(idle_seconds=0.02)
    with open_folder() as folder:
        spec = SecretsListener(socket=str(folder / "secrets.sock"))
        async with asyncio.TaskGroup() as group:
            doors = Doors(group, house_of(Ledger(clock), clock, group))
            await doors.apply([spec])
            doors.abandon()
        assert not list(folder.iterdir())
