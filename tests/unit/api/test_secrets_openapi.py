"""The API keeps to its description: schemathesis asks the real door all that it allows, and not."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from agent.api.secrets.openapi import OPENAPI, document
from agent.core.clock import SystemClock
from tests.rig.secrets_site import APP, secrets_site

SCHEMA = schemathesis.openapi.from_dict(document())
HAD = {"name": "database", "field": "password"}


class HastyClock(SystemClock):
    """Nobody waits longer than a moment."""

    async def wait(self, event: asyncio.Event, deadline: float | None = None) -> bool:
        soon = self.now() + 0.01
        return await super().wait(event, None if deadline is None else min(deadline, soon))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The door behind a TCP port, as schemathesis knows no other; the caller is one of a socket."""
    loop = asyncio.new_event_loop()
    started: list[str] = []
    is_there, is_over = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with secrets_site(HastyClock()) as site:
            server = await loop.create_server(lambda: site.server(APP), "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            started.append(f"http://127.0.0.1:{port}")
            is_there.set()
            await is_over.wait()
            server.close()
            site.server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert is_there.wait(10)
    yield started[0]
    loop.call_soon_threadsafe(is_over.set)
    thread.join()
    loop.close()


@SCHEMA.exclude(path="/v1/events").parametrize()
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_door_keeps_to_its_description(case: schemathesis.Case[Any], address: str) -> None:
    case.call_and_validate(base_url=address)


@SCHEMA.exclude(path="/v1/events").parametrize()
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_it_does_for_names_that_there_are(case: schemathesis.Case[Any], address: str) -> None:
    bundle = {"name": "app"} if "bundles" in case.path else {}
    case.path_parameters = {
        name: {**HAD, **bundle}[name] for name in (case.path_parameters or {}) if name in HAD
    }
    response = case.call_and_validate(base_url=address)
    assert response.status_code != 403


def test_it_is_served_to_every_caller_as_it_is() -> None:
    assert OPENAPI.status == 200 and json.loads(OPENAPI.body) == document()
