"""The client that apps copy: what it asks, and what it makes of the answers. Both kinds alike."""

from __future__ import annotations

import ast
import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import client as module
from agent.client import (
    AsyncClient,
    Client,
    ClientError,
    Denied,
    NotThere,
    NotYet,
    Secret,
    Unreachable,
    WrongGeneration,
)
from tests.rig.clients import asking
from tests.rig.stand_in import HANG, StandIn, said, standing_in

SOURCE = Path(module.__file__)
DATABASE: dict[str, Any] = {
    "name": "database",
    "version": "7",
    "value": {"username": "app", "password": "hunter2"},
    "expires_at": "2026-11-24T11:00:00Z",
    "stale": False,
    "read_at": "2026-11-24T10:00:00Z",
}


def database(version: str = "7", etag: str = '"a-7"', **changed: Any) -> bytes:
    return said(200, DATABASE | {"version": version} | changed, ETag=etag)


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[StandIn]:
    async with standing_in(tmp_path) as door:
        yield door


@pytest.fixture
def client(kind: str, door: StandIn) -> Any:
    return asking(kind, door.place)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.001)


# --- questions and answers ------------------------------------------------------------------------


async def test_a_secret_comes_whole(door: StandIn, client: Any) -> None:
    door.answers = [database()]
    secret = await client.get("database")
    assert secret == Secret(**DATABASE)
    assert secret.etag == '"a-7"'
    (asked,) = door.asked
    assert asked.start == "GET /v1/secrets/database HTTP/1.1"
    assert asked.header("Host") == "localhost" and asked.header("If-None-Match") is None


async def test_bytes_are_bytes_again(door: StandIn, client: Any) -> None:
    value = {"key": "AAH/", "user": "AAH/"}
    door.answers = [database(value=value, encoding={"key": "base64"})]
    assert (await client.get("database")).value == {"key": b"\x00\x01\xff", "user": "AAH/"}


async def test_a_field_comes_as_it_is(door: StandIn, client: Any) -> None:
    door.answers = [said(200, b"\xff\r\n\r\n\x00")]
    assert await client.field("database", "key") == b"\xff\r\n\r\n\x00"
    assert door.asked[0].start == "GET /v1/secrets/database/key HTTP/1.1"


async def test_names_are_those_of_the_listing(door: StandIn, client: Any) -> None:
    listed = [{"name": each, "version": "1", "state": "fresh"} for each in ("database", "web")]
    door.answers = [said(200, {"secrets": listed})]
    assert await client.names() == ["database", "web"]
    assert door.asked[0].start == "GET /v1/secrets HTTP/1.1"


async def test_what_an_app_says_is_sent(door: StandIn, client: Any) -> None:
    door.answers = [said(202, {}), said(200, {}), said(200, {})]
    await client.refused("database", "7")
    await client.confirm("app", 42)
    await client.confirm("app", 43, "no connection: äöü")
    assert [(each.start, json.loads(each.body)) for each in door.asked] == [
        ("POST /v1/secrets/database/refused HTTP/1.1", {"version": "7"}),
        ("POST /v1/bundles/app/confirm HTTP/1.1", {"generation": 42}),
        (
            "POST /v1/bundles/app/confirm HTTP/1.1",
            {"generation": 43, "error": "no connection: äöü"},
        ),
    ]


async def test_no_name_becomes_another_question(door: StandIn, client: Any) -> None:
    door.answers = [database(), said(200, b"x")]
    await client.get("a/b?wait=1 HTTP/1.1\r\nX: y")
    await client.field("a", "ü/%2f#")
    assert [each.start for each in door.asked] == [
        "GET /v1/secrets/a%2Fb%3Fwait%3D1%20HTTP%2F1.1%0D%0AX%3A%20y HTTP/1.1",
        "GET /v1/secrets/a/%C3%BC%2F%252f%23 HTTP/1.1",
    ]


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, Denied),
        (404, NotThere),
        (409, WrongGeneration),
        (429, NotYet),
        (503, NotYet),
        (400, ClientError),
        (500, ClientError),
    ],
)
async def test_each_refusal_has_its_type(
    door: StandIn, client: Any, status: int, error: type[ClientError]
) -> None:
    door.answers = [said(status, {"detail": "the reason"}, Retry_After="7"), said(status, b"?")]
    with pytest.raises(ClientError, match=r"^the reason$") as raised:
        await client.get("database")
    assert type(raised.value) is error and raised.value.retry_after == 7.0
    with pytest.raises(error, match=rf"^the agent answered {status}$"):
        await client.get("database")


@pytest.mark.parametrize("where", ["nothing", "stale", "no socket"])
async def test_where_nobody_listens_is_said(tmp_path: Path, kind: str, where: str) -> None:
    place = tmp_path / "gone.sock"
    if where == "stale":
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(place))
    if where == "no socket":
        place.write_text("")
    with pytest.raises(Unreachable, match=f"nobody listens at {place}; is the agent running"):
        await asking(kind, str(place)).get("database")


async def test_a_path_that_can_be_no_socket_is_said(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ClientError, match="too long"):
        await asking(kind, f"{tmp_path}/{'x' * 200}").get("database")


async def test_no_answer_in_time_is_said(door: StandIn, kind: str) -> None:
    door.answers = [HANG]
    with pytest.raises(Unreachable, match="does not answer"):
        await asking(kind, door.place, timeout=0.05).get("database")
    async with asyncio.timeout(10):
        await door.left.wait()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200",
        said(200, b"[]"),
        said(200, b"{}"),
        said(200, b'{"secrets": 1}'),
        said(200, b"\xff"),
        database(value=7, encoding={"x": "base64"}),
        database(encoding={"password": "base64"}, value={"password": "x"}),
    ],
)
async def test_what_is_no_agent_is_said(door: StandIn, client: Any, answer: bytes) -> None:
    door.answers = [answer, answer]
    with pytest.raises(Unreachable):
        await client.get("database")
    if b"stale" not in answer:
        with pytest.raises(Unreachable):
            await client.names()


@given(st.integers(0, len(database()) - 1))
def test_an_answer_that_is_cut_is_none(length: int) -> None:
    with pytest.raises(Unreachable, match="no whole answer"):
        module._answer(database()[:length])


@given(st.binary())
def test_no_bytes_break_it(content: bytes) -> None:
    for answer in (content, b"HTTP/1.1 200 OK\r\n\r\n" + content, said(200, content)):
        try:
            module._answer(answer).secret()
        except ClientError:
            pass
        else:
            raise AssertionError("it was no secret")


def test_a_value_shows_in_no_repr() -> None:
    assert "hunter2" not in repr(Secret(**DATABASE))
    assert "version='7'" in repr(Secret(**DATABASE))


# --- watching -------------------------------------------------------------------------------------


async def versions_until_denied(client: Any) -> list[str]:
    watching, seen = client.watch("database"), []
    try:
        while True:
            seen.append((await anext(watching)).version)
    except Denied:
        return seen


async def test_watching_gives_each_value_once(door: StandIn, client: Any) -> None:
    door.answers = [
        database(),
        said(304, ETag='"a-7"'),
        database("8", '"a-8"'),
        database("8", '"b-1"'),  # the agent was started again
        database("9", '"b-2"'),
        said(403, {"detail": "no"}),
    ]
    assert await versions_until_denied(client) == ["7", "8", "9"]
    path = "/v1/secrets/database"
    assert [(e.start.split()[1], e.header("If-None-Match")) for e in door.asked] == [
        (path, None),
        (f"{path}?wait=60s", '"a-7"'),
        (f"{path}?wait=60s", '"a-7"'),
        (f"{path}?wait=60s", '"a-8"'),
        (f"{path}?wait=60s", '"b-1"'),
        (f"{path}?wait=60s", '"b-2"'),
    ]


async def test_watching_outlives_what_passes(door: StandIn, client: Any) -> None:
    late = said(503, {"detail": "not had yet"})
    door.answers = [late, b"", late, database(), b"", b"HTTP/1.1 2", late, database("8"), said(403)]
    assert await versions_until_denied(client) == ["7", "8"]
    assert len(door.asked) == 9


async def test_watching_begins_before_there_is_an_agent(tmp_path: Path, kind: str) -> None:
    watching = asking(kind, str(tmp_path / "door.sock")).watch("database")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        first = group.create_task(anext(watching))
        async with standing_in(tmp_path) as door:
            door.answers = [database()]
            assert (await first).version == "7"
    await watching.aclose()


def test_who_learns_nothing_new_rests_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.2)
    watch = module._Watch("/v1/secrets/database")
    assert watch.news(module._answer(database()))
    pauses = []
    for _ in range(20):
        with pytest.raises(NotYet) as raised:
            watch.news(module._answer(database()))
        pauses.append(watch.pause(raised.value))
    assert all(0.1 * 2**n <= pause <= 0.2 * 2**n for n, pause in enumerate(pauses[:6]))
    assert max(pauses) <= module.LONGEST_PAUSE and min(pauses[8:]) >= module.LONGEST_PAUSE / 2
    asked_to_wait = NotYet()
    asked_to_wait.retry_after = 30.0
    assert watch.pause(asked_to_wait) >= 30.0


async def test_who_is_cancelled_hangs_up(door: StandIn) -> None:
    door.answers = [HANG]
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(AsyncClient(door.place).get("database"))
        await door.came.wait()
        task.cancel()
        await door.left.wait()


# --- where it is ----------------------------------------------------------------------------------


def test_the_socket_is_the_one_given_or_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Client().socket == "/run/leasehold/secrets.sock"
    monkeypatch.setenv("LEASEHOLD_SOCKET", "/run/other.sock")
    assert (Client().socket, AsyncClient("@x").socket) == ("/run/other.sock", "@x")


async def test_an_abstract_socket_is_found(kind: str, tmp_path: Path) -> None:
    name = f"leasehold-{tmp_path.name}-{kind}"
    door = StandIn(f"\0{name}")
    door.answers = [database()]
    async with await asyncio.start_unix_server(door.serve, door.place):
        assert (await asking(kind, f"@{name}").get("database")).version == "7"


# --- a file to copy -------------------------------------------------------------------------------


def test_it_needs_nothing_but_python() -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(SOURCE.read_text()))
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "."]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


async def test_a_copy_of_it_works_alone(door: StandIn, tmp_path: Path) -> None:
    shutil.copy(SOURCE, tmp_path / "leasehold_client.py")
    door.answers = [said(200, b"hunter2")]
    program = "from leasehold_client import *; print(Client().field('database', 'password'))"
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-S", "-c", program],
        cwd=tmp_path,
        env={"LEASEHOLD_SOCKET": door.place},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (ran.stdout, ran.stderr) == ("b'hunter2'\n", "")
