"""The telemetry's doors, asked by a real HTTP client over real sockets."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.config.addresses import host_and_port
from agent.config.model import Telemetry
from agent.core.errors import AgentError, ConfigurationError
from agent.core.events import BundlePublished, LoggedIn
from agent.core.secret import Reading, Secret
from agent.ledger import Ledger
from agent.telemetry.metrics import Metrics
from agent.telemetry.server import MOST_CONNECTIONS, TelemetryServer
from agent.telemetry.status import Status
from tests.rig.clock import JumpClock

ANY_PORT = Telemetry(address="127.0.0.1:0")


@asynccontextmanager
async def running(server: TelemetryServer) -> AsyncIterator[TelemetryServer]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(server.run(), name="telemetry")
        try:
            async with asyncio.timeout(10):
                await server.listening.wait()
            yield server
        finally:
            task.cancel()


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


class Alive:
    """Says whether the watchdog ticks."""

    is_so = True

    def __call__(self) -> bool:
        return self.is_so


@pytest.fixture
def alive() -> Alive:
    return Alive()


@pytest.fixture
async def server(status: Status, clock: JumpClock, alive: Alive) -> AsyncIterator[TelemetryServer]:
    server = TelemetryServer(ANY_PORT, status, Metrics(status, clock), is_alive=alive)
    async with running(server):
        yield server


@pytest.fixture
async def http(server: TelemetryServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{server.address}") as session:
        yield session


def publish(status: Status, *bundles: str) -> None:
    for name in bundles:
        status(BundlePublished(bundle=name, generation=1, secrets=[], changed_files=["file"]))


async def test_metrics_are_what_prometheus_reads(http: aiohttp.ClientSession) -> None:
    async with http.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        families = {family.name for family in text_string_to_metric_families(await answer.text())}
    assert {
        "leasehold_build_info",
        "leasehold_requests",
        "process_resident_memory_bytes",
    } <= families


async def test_status_is_the_contracts(
    http: aiohttp.ClientSession, status: Status, ledger: Ledger
) -> None:
    ledger.record("web", Reading(Secret({"key": "very secret"}), "7"), None)
    status(LoggedIn(store="vault", method="jwt", ttl_seconds=None))
    async with http.get("/status") as answer:
        assert answer.headers["Content-Type"] == "application/json"
        body = await answer.json()
    assert body == status.as_dict()
    assert body["secrets"]["web"]["version"] == "7"
    assert body["stores"]["vault"]["state"] == "up"


async def test_readyz_names_what_is_missing_until_every_bundle_is_published(
    http: aiohttp.ClientSession, status: Status
) -> None:
    publish(status, "app")
    async with http.get("/readyz") as answer:
        assert answer.status == 503
        assert await answer.json() == {"ok": False, "missing": ["bundle web"]}
    publish(status, "web")
    async with http.get("/readyz") as answer:
        assert answer.status == 200
        assert await answer.json() == {"ok": True, "missing": []}


async def test_startupz_is_good_once_and_for_all_vault_k8s_620(
    http: aiohttp.ClientSession, status: Status
) -> None:
    async with http.get("/startupz") as answer:
        assert answer.status == 503
    publish(status, "app", "web")
    async with http.get("/startupz") as answer:
        assert answer.status == 200
    status.bundles["app"].generation = 0
    async with http.get("/readyz") as ready, http.get("/startupz") as started:
        assert (ready.status, started.status) == (503, 200)


async def test_livez_is_about_the_watchdog_and_not_about_secrets(
    http: aiohttp.ClientSession, alive: Alive
) -> None:
    async with http.get("/livez") as answer:
        assert answer.status == 200
    alive.is_so = False
    async with http.get("/livez") as answer:
        assert answer.status == 503
        assert await answer.json() == {"ok": False, "missing": ["watchdog"]}


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/status"])
async def test_head_is_get_without_the_body(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as get, http.head(path) as head:
        assert head.status == get.status == 200
        assert await head.read() == b""


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/status/", 404), ("POST", "/status", 405), ("PUT", "/x", 404)],
)
async def test_there_is_nothing_else(
    http: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with http.request(method, path) as answer:
        assert answer.status == status


async def test_a_request_with_a_body_is_refused(http: aiohttp.ClientSession) -> None:
    async with http.get("/status", data=b"x" * 100) as answer:
        assert answer.status == 400
        assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("part", ["line", "header", "headers"])
async def test_a_large_request_is_refused(server: TelemetryServer, part: str) -> None:
    path = "x" * 5000 if part == "line" else "livez"
    headers = "A: " + "x" * 5000 + "\r\n" if part == "header" else ""
    headers += "".join(f"A{number}: x\r\n" for number in range(200)) if part == "headers" else ""
    reader, writer = await asyncio.open_connection(*host_and_port(server.address))
    writer.write(f"GET /{path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.0 400")
    writer.close()
    await writer.wait_closed()


async def test_whoever_holds_connections_open_keeps_no_probe_out(server: TelemetryServer) -> None:
    address = host_and_port(server.address)
    held = [await asyncio.open_connection(*address) for _ in range(MOST_CONNECTIONS * 2)]
    async with aiohttp.request("GET", f"http://{server.address}/livez") as answer:
        assert answer.status == 200
    async with asyncio.timeout(10):
        assert await held[0][0].read() == b""
    for _, writer in held:
        writer.close()


async def test_a_kept_connection_does_not_hold_up_the_end(status: Status, clock: JumpClock) -> None:
    server = TelemetryServer(ANY_PORT, status, Metrics(status, clock))
    async with aiohttp.ClientSession() as http, asyncio.timeout(10):
        async with running(server), http.get(f"http://{server.address}/livez") as answer:
            await answer.read()
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"http://{server.address}/livez")


async def test_a_unix_socket_with_its_mode_and_gone_at_the_end(
    status: Status, clock: JumpClock, tmp_path: Path
) -> None:
    path = tmp_path / "telemetry.sock"
    spec = Telemetry(socket=path, mode=0o600)
    async with running(TelemetryServer(spec, status, Metrics(status, clock))) as server:
        assert server.address == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        connector = aiohttp.UnixConnector(str(path))
        async with aiohttp.request("GET", "http://localhost/livez", connector=connector) as answer:
            assert answer.status == 200
        await connector.close()
    assert names(tmp_path) == []


async def test_an_address_that_is_taken_is_named(
    server: TelemetryServer, status: Status, clock: JumpClock
) -> None:
    second = TelemetryServer(Telemetry(address=server.address), status, Metrics(status, clock))
    port = server.address.rpartition(":")[2]
    with pytest.raises(AgentError, match=f"127.0.0.1 port {port}: Address already in use"):
        await second.run()


async def test_a_socket_of_a_living_agent_is_not_taken(
    status: Status, clock: JumpClock, tmp_path: Path
) -> None:
    spec = Telemetry(socket=tmp_path / "telemetry.sock")
    async with running(TelemetryServer(spec, status, Metrics(status, clock))):
        with pytest.raises(AgentError, match="is the agent running already"):
            await TelemetryServer(spec, status, Metrics(status, clock)).run()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:9847", ("127.0.0.1", 9847)),
        (":9847", ("127.0.0.1", 9847)),
        ("[::1]:9847", ("::1", 9847)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_addresses(address: str, expected: tuple[str, int]) -> None:
    assert host_and_port(address) == expected


@pytest.mark.parametrize(
    "address", ["9847x", "localhost", "localhost:", "localhost:http", ":65536"]
)
async def test_addresses_that_are_none(address: str, status: Status, clock: JumpClock) -> None:
    server = TelemetryServer(Telemetry(address=address), status, Metrics(status, clock))
    with pytest.raises(ConfigurationError, match=r"telemetry\.address"):
        await server.run()
