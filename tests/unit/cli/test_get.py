"""`leasehold get`: what comes out, where it is asked for, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import yaml

from agent.cli.get import patiently
from agent.client import AsyncClient, ClientError, NotYet, Unreachable
from tests.rig.clock import JumpClock
from tests.rig.door import REST, ROOT
from tests.rig.stand_in import StandIn, said, standing_in

VALUE = {"username": "app", "password": "hunter2 ü"}
DATABASE = {
    "name": "database",
    "version": "7",
    "value": VALUE,
    "expires_at": None,
    "stale": False,
    "read_at": "2026-11-24T10:00:00Z",
}
LATE = said(503, {"detail": "there is no value yet"}, Retry_After="1")
DENIED = said(403, {"detail": "no such secret, or not for you"})


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[StandIn]:
    async with standing_in(tmp_path) as door:
        yield door


async def run(
    *arguments: object, environment: Mapping[str, str] | None = None, out: int = -1
) -> tuple[int, bytes, str]:
    """Exit code, output and errors of the real command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "get", *map(str, arguments)),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **(environment or {})},
        stdout=asyncio.subprocess.PIPE if out == -1 else out,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output, errors.decode()


# --- what comes out -------------------------------------------------------------------------------


async def test_a_field_is_put_out_to_the_byte(door: StandIn) -> None:
    door.answers = [said(200, b"\x00hunter2\xff\r\n")]
    place = ("--socket", door.place)
    assert await run("database.password", *place) == (0, b"\x00hunter2\xff\r\n", "")
    assert door.asked[0].start == "GET /v1/secrets/database/password HTTP/1.1"


async def test_a_terminal_has_the_prompt_on_a_line_of_its_own(door: StandIn) -> None:
    door.answers = [said(200, b"hunter2")]
    reading, terminal = os.openpty()
    try:
        code, _, _ = await run("database.password", "--socket", door.place, out=terminal)
        shown = await asyncio.to_thread(os.read, reading, 100)
    finally:
        os.close(terminal)
        os.close(reading)
    assert (code, shown) == (0, b"hunter2\r\n")


async def test_a_secret_is_json(door: StandIn) -> None:
    door.answers = [said(200, DATABASE)]
    code, out, err = await run("database", "--socket", door.place)
    assert (code, json.loads(out), err) == (0, VALUE, "")
    assert "ü" in out.decode()


async def test_bytes_in_it_are_marked(door: StandIn) -> None:
    coded = {"value": {"key": "AAH/"}, "encoding": {"key": "base64"}}
    door.answers = [said(200, DATABASE | coded)]
    _, out, _ = await run("database", "--socket", door.place)
    assert json.loads(out) == {"key": {"base64": "AAH/"}}


async def test_a_field_may_have_dots_and_slashes(door: StandIn) -> None:
    door.answers = [said(200, b"x")]
    assert (await run("database.tls.key/1", "--socket", door.place))[:2] == (0, b"x")
    assert door.asked[0].start == "GET /v1/secrets/database/tls.key%2F1 HTTP/1.1"


# --- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "line"),
    [
        (DENIED, 1, "database: no such secret, or not for you"),
        (said(404, {"detail": "the secret has no such field"}), 1, "database: the secret has no"),
        (LATE, 3, "database: there is no value yet"),
        (said(500, b""), 1, "database: the agent answered 500"),
        (b"SSH-2.0\r\n", 1, "database: no whole answer came from the agent"),
    ],
    ids=["denied", "no field", "not yet", "broken", "no agent"],
)
async def test_what_is_not_had_is_said_in_one_line(
    door: StandIn, answer: bytes, code: int, line: str
) -> None:
    door.answers = [answer]
    ended, out, err = await run("database", "--socket", door.place)
    assert (ended, out, err.count("\n")) == (code, b"", 1)
    assert err.startswith(f"leasehold: {line}")


async def test_an_agent_that_is_not_there(tmp_path: Path) -> None:
    place = tmp_path / "gone.sock"
    reason = f"leasehold: database: nobody listens at {place}; is the agent running?\n"
    assert await run("database", "--socket", place) == (1, b"", reason)
    assert await run("database", "--socket", place, "--wait", "0.1") == (3, b"", reason)


async def test_who_waits_has_it_as_soon_as_it_is_there(door: StandIn) -> None:
    door.answers = [LATE, b"", said(200, DATABASE)]
    code, out, _ = await run("database", "--socket", door.place, "--wait", "30s")
    assert (code, json.loads(out), len(door.asked)) == (0, VALUE, 3)


async def test_who_is_denied_does_not_wait(door: StandIn) -> None:
    door.answers = [DENIED]
    assert (await run("database", "--socket", door.place, "--wait", "1h"))[0] == 1


async def test_waiting_keeps_to_what_the_agent_asks_for(door: StandIn) -> None:
    door.answers = [said(503, b"", Retry_After="7"), said(503, b"", Retry_After="60"), LATE]
    assert await gave_up_after(door.place, NotYet) == pytest.approx(30.0)
    assert len(door.asked) == 3  # the second after 7 s, the third at the end


async def test_waiting_for_an_agent_ends(tmp_path: Path) -> None:
    assert await gave_up_after(str(tmp_path / "gone"), Unreachable) == pytest.approx(30.0)


async def gave_up_after(place: str, why: type[ClientError]) -> float:
    """Seconds."""
    clock = JumpClock(idle_seconds=0.05)
    began = clock.now()

    async def give_up() -> float:
        with pytest.raises(why):
            await patiently(AsyncClient(place), "database", 30.0, clock)
        return clock.now() - began

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(give_up())
        await clock.advance(60)
        return await task


# --- where it is asked for ------------------------------------------------------------------------


def configured(folder: Path, *listeners: dict[str, object]) -> Path:
    file = folder / "leasehold.yaml"
    file.write_text(yaml.safe_dump(REST | {"listeners": list(listeners)}))
    return file


async def test_the_listener_is_found_in_the_configuration(door: StandIn, tmp_path: Path) -> None:
    door.answers = [said(200, b"x")]
    file = configured(
        tmp_path,
        {"protocol": "credentials", "socket": "/run/other.sock"},
        {"protocol": "secrets", "activated": "secrets"},
        {"protocol": "secrets", "socket": door.place},
    )
    assert (await run("app.password", "-c", file))[:2] == (0, b"x")


async def test_the_environment_names_it_too(door: StandIn) -> None:
    door.answers = [said(200, b"x")]
    environment = {"LEASEHOLD_SOCKET": door.place}
    assert (await run("app.password", environment=environment))[:2] == (0, b"x")


async def test_a_place_that_nothing_tells_is_asked_for(tmp_path: Path) -> None:
    code, _, err = await run("app")
    assert code == 2 and "Say -c FILE, --socket PATH or LEASEHOLD_SOCKET" in err
    code, _, err = await run("app", "-c", configured(tmp_path))
    assert code == 2 and re.match("listeners: none of protocol secrets has a `socket`", err)
