"""Another user of the host at the doors of the agent: gets nothing, and takes nobody's place."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.agent import Leasehold, Start
from tests.rig.needs import needs_program, needs_root
from tests.rig.neighbours import (
    FRIEND,
    HOSTILE,
    Street,
    get,
    hostile_user,
    served_meanwhile,
    status_of,
)
from tests.rig.peers import Peer, open_folder
from tests.rig.scene import Scene, value
from tests.rig.waiting import EVERY, eventually

SYSTEM_PYTHON = "/usr/bin/python3"
PER_USER, SLOW = 32, 1.0
LIMITS = {"per_user": PER_USER, "connections": 512, "slow": SLOW, "idle": 2, "request_bytes": 1 << 16}
SECRET = {"secrets": "/v1/secrets/app", "aws": "/secretsmanager/get?secretId=app"}
HTTP = ("secrets", "vault", "aws")


def listeners(folder: Path, program: Path) -> list[dict[str, Any]]:
    """All doors open to every user: it is the rules that hold. `program` may read `guarded`."""
    allow = [
        {"user": str(FRIEND), "secrets": ["app"]},
        {"user": str(HOSTILE), "secrets": ["own"]},
        {"user": str(HOSTILE), "executable": str(program), "secrets": ["guarded"]},
    ]
    each = {"mode": "0666", "limits": LIMITS}
    doors = [
        {"protocol": name, "socket": str(folder / f"{name}.sock"), "allow": allow, **each}
        for name in HTTP
    ]
    units = {"allow": [{"unit": "app.service", "secrets": ["app"]}], "limits": LIMITS}
    return [
        *doors,
        {"protocol": "credentials", "socket": str(folder / "credentials.sock"), **units},
    ]


@pytest.fixture
async def street(leasehold: Start, scene: Scene, tmp_path: Path) -> AsyncIterator[Street]:
    """A running agent with all doors; at its end nothing has got out."""
    needs_root()
    needs_program(SYSTEM_PYTHON)
    with open_folder() as folder:
        shutil.copy(SYSTEM_PYTHON, folder / "program")
        for name in ("app", "guarded"):
            scene.kv.put(name, password=value())
        scene.kv.put("own", password="mine" * 5000)
        SECRET["vault"] = f"/v1/{scene.kv.api('app')}"
        audit = tmp_path / "audit.jsonl"
        agent = await leasehold(
            scene.configuration(
                secrets={name: scene.secret(name) for name in ("app", "own", "guarded")},
                listeners=listeners(folder, folder / "program"),
                audit={"file": str(audit)},
                log={"format": "json", "level": "info"},
            )
        )
        await agent.event("ready")
        one = Street(folder, agent)
        yield one
        assert one.gave_nothing()
        await eventually(lambda: not one.guests())
        await sound(agent, audit, leasehold)


async def sound(agent: Leasehold, audit: Path, leasehold: Start) -> None:
    """It ends in order, without a defect, with an audit that is whole and holds each denial."""
    done = await agent.stop()
    assert done.code == 0 and "defect" not in done.err and "Traceback" not in done.err, done.err
    verified = await (await leasehold.command("audit", "verify", "-c", leasehold.file)).wait()
    assert verified.code == 0, verified
    records = [json.loads(line) for line in audit.read_text().splitlines()]
    hostile = [each for each in records if each.get("caller", {}).get("uid") == HOSTILE]
    assert not [
        each
        for each in hostile
        if each.get("secret") in ("app", "guarded") and each["decision"] == "allowed"
    ]


# --- many ---------------------------------------------------------------------------------------


async def test_a_hundred_thousand_connections_of_another_user(street: Street) -> None:
    async with hostile_user() as hostile, served_meanwhile(street, "secrets", SECRET["secrets"]):
        assert await street.attack(hostile, "flood", street.socket("secrets"), 100_000) == 100_000
    assert len(street.agent.all("connection_refused")) < 20


@pytest.mark.parametrize("door", HTTP)
async def test_connections_that_are_held(street: Street, door: str) -> None:
    async with hostile_user() as hostile, served_meanwhile(street, door, SECRET[door]):
        await street.attack(hostile, "hold", street.socket(door), 300)
        await still_open(hostile, 300, at_most=PER_USER)
        await still_open(hostile, 300, at_most=0)


@pytest.mark.parametrize("door", HTTP)
async def test_requests_that_come_a_byte_at_a_time(street: Street, door: str) -> None:
    """Each byte is in time, and the whole never comes."""
    begun = f"GET {SECRET[door]} HTTP/1.1\r\nHost: x\r\nX: "
    async with hostile_user() as hostile, served_meanwhile(street, door, SECRET[door]):
        await hostile.do("hold", street.socket(door), PER_USER)
        await hostile.do("trickle", PER_USER, begun)
        async with asyncio.timeout(20):
            while await hostile.do("still_open", PER_USER):
                await hostile.do("trickle", PER_USER, "a")


async def still_open(hostile: Peer, count: int, *, at_most: int) -> None:
    """Of those that are held, soon not more than these."""
    async with asyncio.timeout(20):
        while await hostile.do("still_open", count) > at_most:
            await asyncio.sleep(EVERY)


# --- much ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["Content-Length: 9000000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("door", HTTP)
async def test_a_body_without_an_end(street: Street, door: str, framing: str) -> None:
    head = f"POST {SECRET[door]} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n"
    if "chunked" in framing:
        head += "fffffff0\r\n"
    before = street.pss_mib()
    async with hostile_user() as hostile, served_meanwhile(street, door, SECRET[door]):
        for _ in range(5):
            taken, answer = await street.attack(hostile, "pour", street.socket(door), head, 64)
            assert taken < 4 << 20 and status_of(answer) in (0, 413), (taken, answer)
    assert street.pss_mib() - before < 8


@pytest.mark.parametrize(
    "target", ["/v1/secrets/own", "/v1/secrets/own?wait=600s", "/v1/events", "/v1/secrets"]
)
async def test_requests_without_number_whose_answers_nobody_reads(
    street: Street, target: str
) -> None:
    """Of each user there are PER_USER connections; what they hold of the agent's is bounded."""
    text = f"GET {target} HTTP/1.1\r\n\r\n" + "GET / HTTP/1.1\r\n\r\n" * 10
    before = street.pss_mib()
    async with hostile_user() as hostile, served_meanwhile(street, "secrets", SECRET["secrets"]):
        socket = street.socket("secrets")
        assert await hostile.do("stuff", socket, text, 20_000, PER_USER) > 0
        assert status_of(await street.attack(hostile, "say", socket, get("/v1/secrets"))) == 0
        assert street.pss_mib() - before < 32
