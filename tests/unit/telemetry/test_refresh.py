"""The door through which fresh reads are asked for."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.config.addresses import host_and_port
from agent.config.model import Telemetry
from agent.telemetry.metrics import Metrics
from agent.telemetry.refresh import Asked, RefreshDoor
from agent.telemetry.server import TelemetryServer
from agent.telemetry.status import Status
from agent.telemetry.wishes import MOST_BODY
from tests.rig.clock import JumpClock
from tests.unit.telemetry.test_server import ANY_PORT, running


class Watched:
    """Two secrets; keeps what was wished."""

    def __init__(self) -> None:
        self.wishes: list[list[str]] = []

    def __call__(self, names: Collection[str] | None) -> Asked:
        wished = sorted(("database", "web") if names is None else set(names))
        if unknown := [name for name in wished if name not in ("database", "web")]:
            return Asked([], unknown)
        self.wishes.append(wished)
        return Asked(wished, [])


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
async def server(
    status: Status, clock: JumpClock, watched: Watched
) -> AsyncIterator[TelemetryServer]:
    server = TelemetryServer(ANY_PORT, status, Metrics(status, clock), doors=door(watched))
    async with running(server):
        yield server


@pytest.fixture
async def http(server: TelemetryServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{server.address}") as session:
        yield session


def door(watched: Watched) -> dict[str, RefreshDoor]:
    return {"/refresh": RefreshDoor(watched)}


async def post(http: aiohttp.ClientSession, wish: Any) -> tuple[int, dict[str, Any]]:
    async with http.post("/refresh", json=wish) as answer:
        kind = "application/json" if answer.status == 202 else "application/problem+json"
        assert answer.content_type == kind
        return answer.status, await answer.json(content_type=kind)


async def test_those_named_are_asked_for_or_all(
    http: aiohttp.ClientSession, watched: Watched
) -> None:
    assert await post(http, {"secrets": ["web", "web"]}) == (202, {"asked": ["web"]})
    assert await post(http, {}) == (202, {"asked": ["database", "web"]})
    assert await post(http, {"secrets": None}) == (202, {"asked": ["database", "web"]})
    assert await post(http, {"secrets": []}) == (202, {"asked": []})
    assert watched.wishes == [["web"], ["database", "web"], ["database", "web"], []]


async def test_of_an_unknown_name_nothing_comes(
    http: aiohttp.ClientSession, watched: Watched
) -> None:
    assert await post(http, {"secrets": ["web", "wob", "x"]}) == (
        404,
        {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "no secret of this name: wob, x",
        },
    )
    assert not watched.wishes


@pytest.mark.parametrize(
    "wish", [[], "web", 1, {"secrets": "web"}, {"secrets": [1]}, {"secret": ["web"]}]
)
async def test_a_body_of_another_form_is_refused(
    http: aiohttp.ClientSession, watched: Watched, wish: Any
) -> None:
    status, problem = await post(http, wish)
    assert status == 400 and problem["detail"].startswith("the body must be {")
    assert not watched.wishes


async def test_what_a_page_in_a_browser_can_send_is_refused(
    http: aiohttp.ClientSession, watched: Watched
) -> None:
    """Without asking first, which we never answer, a page can send text and forms only."""
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        async with http.post("/refresh", data=b"{}", headers={"Content-Type": kind}) as answer:
            assert answer.status == 415
    async with http.options("/refresh") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    async with http.get("/refresh") as answer:
        assert answer.status == 405
    assert not watched.wishes


async def test_a_large_body_is_refused_as_soon_as_it_is(
    http: aiohttp.ClientSession, watched: Watched
) -> None:
    status, _ = await post(http, {"secrets": ["x" * MOST_BODY]})
    assert status == 413
    assert (await post(http, {}))[0] == 202


async def test_a_body_that_does_not_come_is_not_waited_for(
    server: TelemetryServer, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.telemetry.wishes.BODY_SECONDS", 0.05)
    head = (
        "POST /refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Content-Length: 100\r\n\r\n{"
    )
    reader, writer = await asyncio.open_connection(*host_and_port(server.address))
    writer.write(head.encode())
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()
    _, gone = await asyncio.open_connection(*host_and_port(server.address))
    gone.write(head.encode())
    gone.transport.abort()
    async with aiohttp.request("GET", f"http://{server.address}/livez") as alive:
        assert alive.status == 200
    assert not watched.wishes


@pytest.mark.parametrize(("address", "is_open"), [("0.0.0.0:0", False), ("[::1]:0", True)])
async def test_others_than_local_processes_may_not(
    status: Status, clock: JumpClock, watched: Watched, address: str, is_open: bool
) -> None:
    """Also not from this host: nobody can tell who stands behind a forwarded connection."""
    server = TelemetryServer(
        Telemetry(address=address), status, Metrics(status, clock), doors=door(watched)
    )
    async with running(server):
        _, port = host_and_port(server.address)
        host = "[::1]" if is_open else "127.0.0.1"
        async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
            code, content = await post(session, {})
    if is_open:
        assert code == 202
    else:
        assert code == 403 and "loopback address or a UNIX socket" in content["detail"]
        assert not watched.wishes


async def test_on_a_socket_its_mode_says_who_may(
    status: Status, clock: JumpClock, watched: Watched, tmp_path: Path
) -> None:
    path = tmp_path / "telemetry.sock"
    spec = Telemetry(socket=path, mode=0o600)
    async with running(TelemetryServer(spec, status, Metrics(status, clock), doors=door(watched))):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        connector = aiohttp.UnixConnector(str(path))
        async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
            assert await post(session, {}) == (202, {"asked": ["database", "web"]})
