"""Apps that use the AWS Secrets Manager Agent, as its documentation has them, at our door."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import requests
import yaml

from agent.api.access import Rules
from agent.api.aws import AwsDoor, Token
from agent.api.http import HttpServer
from agent.api.listener import Listener
from agent.app.composition import Composition
from agent.config.listener_model import AwsListener, SecretsRule
from agent.stores.local.file import EntriesFile
from tests.rig.clock import JumpClock
from tests.rig.composed import composed
from tests.rig.local_store import local_store_in, made, put
from tests.rig.needs import needs_program
from tests.rig.processes import free_port
from tests.rig.stores import Changes, Recorder
from tests.rig.waiting import eventually

TOKEN = "0123456789abcdef" * 4
HEADERS = {"X-Aws-Parameters-Secrets-Token": TOKEN}
T = TypeVar("T")

_threads = ThreadPoolExecutor(4, thread_name_prefix="app")


def _defect(error: Exception) -> None:
    raise error


async def app(call: Callable[[], T]) -> T:
    """What an app does, in a thread of its own."""
    return await asyncio.get_running_loop().run_in_executor(_threads, call)


class Agent:
    """A local store, its watcher, a door at `address` and at `socket`."""

    def __init__(self, folder: Path, port: int, file: EntriesFile) -> None:
        self.port, self.file = port, file
        self.url, self.socket = f"http://localhost:{port}", folder / "aws.sock"
        self.clock, self.events = JumpClock(idle_seconds=0.02), Recorder()

    def listener(
        self, spec: AwsListener, composition: Composition, group: asyncio.TaskGroup
    ) -> tuple[Listener, HttpServer, AwsDoor]:
        rules = Rules(spec.allow)
        door = AwsDoor(
            "aws",
            composition.ledger,
            rules=lambda: rules,
            secrets=lambda: composition.configuration.secrets,
            refresh=lambda name, deadline: composition.watchers[name].read_anew(deadline),
            token=Token.of(spec, {"AWS_TOKEN": TOKEN}),
            clock=self.clock,
            emit=self.events,
            changes=Changes(),
        )
        server = HttpServer(
            door,
            clock=self.clock,
            spawn=group.create_task,
            audit=lambda request, status, done: done(True),
            on_defect=_defect,
        )
        return Listener(spec, rules, server, clock=self.clock, emit=self.events), server, door

    async def put(self, **fields: str | bytes) -> None:
        await asyncio.to_thread(lambda: put(self.file, "app", **fields))


@asynccontextmanager
async def agent(folder: Path) -> AsyncIterator[Agent]:
    spec = local_store_in(folder)
    opened = Agent(folder, free_port(), await asyncio.to_thread(made, spec))
    configuration = {
        "stores": {"local": {"type": "local", "file": str(spec.file), "key": {"file": "key"}}},
        "secrets": {"app": {"path": "app", "aliases": ["prod/app/db"]}},
    }
    file = folder / "leasehold.yaml"
    await asyncio.to_thread(file.write_text, yaml.safe_dump(configuration))
    allow = (SecretsRule(secrets=("app", "no*")),)
    tcp = AwsListener(address=f"127.0.0.1:{opened.port}", allow=allow)
    unix = AwsListener(socket=str(opened.socket), allow=(SecretsRule(user="0", secrets=("app",)),))
    async with (
        composed(file, opened.clock, opened.events) as composition,
        asyncio.TaskGroup() as group,
    ):
        doors = [opened.listener(each, composition, group) for each in (tcp, unix)]
        tasks = [group.create_task(each.run()) for one in doors for each in one]
        await eventually(lambda: all(one[0].listening.is_set() for one in doors))
        await opened.clock.settle()
        try:
            yield opened
        finally:
            for each in tasks:
                each.cancel()


async def test_requests(tmp_path: Path) -> None:
    """The README's example for Python."""
    async with agent(tmp_path) as opened:

        def get(path: str, **headers: str) -> requests.Response:
            return requests.get(opened.url + path, headers=HEADERS | headers, timeout=10)

        answered = await app(lambda: get("/secretsmanager/get?secretId=app"))
        assert answered.status_code == 200
        found = answered.json()
        assert json.loads(found["SecretString"]) == {"password": "one"}
        assert set(found) == {
            *("ARN", "Name", "VersionId", "SecretString", "VersionStages", "CreatedDate")
        }
        assert isinstance(found["CreatedDate"], str) and float(found["CreatedDate"]) > 1e9
        by_path = await app(lambda: get("/v1/prod/app/db"))
        assert by_path.json() == found

        forwarded = await app(lambda: get("/v1/app", **{"X-Forwarded-For": "10.0.0.1"}))
        assert (forwarded.status_code, forwarded.text) == (400, "Forwarded")
        missing = await app(lambda: get("/v1/nothing"))
        assert missing.status_code == 400
        assert missing.json()["__type"] == "ResourceNotFoundException"
        other = {"X-Vault-Token": TOKEN}
        vault_header = await app(
            lambda: requests.get(f"{opened.url}/v1/app", headers=other, timeout=10)
        )
        assert vault_header.json() == found


async def test_refresh_now_is_as_new_as_the_store(tmp_path: Path) -> None:
    async with agent(tmp_path) as opened:

        def password(query: str = "") -> Any:
            got = requests.get(f"{opened.url}/v1/app{query}", headers=HEADERS, timeout=10)
            return json.loads(got.json()["SecretString"])["password"]

        await opened.put(password="two")
        await opened.clock.advance(2)
        assert await app(password) in ("one", "two")  # the file is watched, too
        assert await app(lambda: password("?refreshNow=true")) == "two"


async def test_a_page_in_a_browser_gets_nothing(tmp_path: Path) -> None:
    """What it may send without being asked for permission: no header of its own choosing."""
    async with agent(tmp_path) as opened:

        def visit(method: str, **headers: str) -> tuple[int, bytes]:
            url = f"{opened.url}/v1/app"
            answered = requests.request(method, url, headers=headers, timeout=10)
            assert "Access-Control-Allow-Origin" not in answered.headers
            return answered.status_code, answered.content

        refused = (403, b"Bad Token")
        origin = {"Origin": "https://evil.example", "Host": "evil.example"}
        assert await app(lambda: visit("GET", **origin)) == refused
        assert await app(lambda: visit("OPTIONS", **origin)) == refused
        assert await app(lambda: visit("POST", **origin)) == refused


class UnixConnection(http.client.HTTPConnection):
    """As an app has it that was told of a socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


async def test_over_a_unix_socket_the_caller_is_known_and_needs_no_token(tmp_path: Path) -> None:
    async with agent(tmp_path) as opened:

        def get(*paths: str) -> list[tuple[int, bytes]]:
            connection = UnixConnection(opened.socket)
            found = []
            for path in paths:
                connection.request("GET", path)
                answered = connection.getresponse()
                found.append((answered.status, answered.read()))
            connection.close()
            return found

        ping, value, hidden = await app(lambda: get("/ping", "/v1/app", "/v1/nothing"))
        assert ping == (200, b"healthy")
        assert json.loads(value[1])["Name"] == "app"
        assert hidden[0] == 400 and b"AccessDeniedException" in hidden[1]


async def test_curl(tmp_path: Path) -> None:
    """The README's example for a shell."""
    curl = needs_program("curl")
    async with agent(tmp_path) as opened:

        def ran(*arguments: str) -> str:
            command = [curl, "-s", "--noproxy", "*", *arguments]
            return subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=20
            ).stdout

        token = f"X-Aws-Parameters-Secrets-Token: {TOKEN}"
        url = f"{opened.url}/secretsmanager/get?secretId=prod/app/db&versionStage=AWSCURRENT"
        assert json.loads(await app(lambda: ran("-H", token, url)))["Name"] == "app"
        assert await app(lambda: ran(url)) == "Bad Token"
        unix = ("--unix-socket", str(opened.socket), "http://localhost/v1/app")
        assert json.loads(await app(lambda: ran(*unix)))["Name"] == "app"
