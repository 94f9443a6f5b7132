"""Another user of the host at the doors of the agent: gets nothing, and takes nobody's place."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from tests.rig.peers import Peer, open_folder, peer
from tests.rig.scene import Scene, value
from tests.rig.waiting import EVERY, eventually

SYSTEM_PYTHON = "/usr/bin/python3"
PER_USER, SLOW = 32, 1.0
LIMITS = {
    "per_user": PER_USER,
    "connections": 512,
    "slow": SLOW,
    "idle": 2,
    "request_bytes": 1 << 16,
}
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
    """It ends in order, without a defect, with an audit that is whole and let him have nothing."""
    done = await agent.stop()
    assert done.code == 0 and "defect" not in done.err and "Traceback" not in done.err, done.err
    verified = await (await leasehold.command("audit", "verify", "-c", leasehold.file)).wait()
    assert verified.code == 0, verified
    lines = await asyncio.to_thread(audit.read_text)
    records = [json.loads(line) for line in lines.splitlines()]
    his = [each for each in records if each.get("caller", {}).get("uid") == HOSTILE]
    allowed = [each for each in his if each["decision"] == "allowed"]
    assert not [each for each in allowed if each.get("secret") == "app"]
    guarded = [each["caller"] for each in allowed if each.get("secret") == "guarded"]
    assert all(Path(each["executable"]).name == "program" for each in guarded)


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
        while await hostile.do("still_open", count) > at_most:  # noqa: ASYNC110  # in another process
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


# --- tricks -------------------------------------------------------------------------------------

DENIED_AS = "/v1/secrets/nosuch"
PATHS = (
    "/v1/secrets/own/../app", "/v1/secrets/own/..%2fapp", "/v1/secrets/./app", "//v1/secrets/app",
    "/v1//secrets/app", "/v1/secrets//app", "/v1/secrets/app/", "/v1/secrets/APP",
    "/V1/secrets/app",
    "/v1/secrets/%61pp", "/v1/secrets/%2561pp", "/v1/secrets/own%2f..%2fapp", "/v1/secrets/app%00",
    "/v1/secrets/own%00app", "/v1/secrets/app%20", "/v1/secrets/app;x", "/v1/secrets/app?wait=1s",
    "/v1/secrets/app/password", "/v1/secrets/own/..;/app", "/v1/secrets/%c0%ae%c0%ae/app",
    "/v1/secrets/own\\..\\app", "/v1/secrets/ap%70", "/v1/secrets/%EF%BD%81pp",
    "/v1/secrets/guarded", "/v1/bundles/../secrets/app", "/v1/secrets/app#own",
    "http://localhost/v1/secrets/app", "*", "/v1/secrets/", "/v1/secrets/*", "/v1/secrets/a?p",
)  # fmt: skip
"""At the secrets API; the other doors have the like below their own roots."""


def elsewhere(path: str, door: str, mount: str) -> str:
    """The trick as another door would have to be asked."""
    if door == "vault":
        return path.replace("/v1/secrets/", f"/v1/{mount}/data/")
    if door == "aws":
        return path.replace("/v1/secrets/", "/v1/")
    return path


@pytest.mark.parametrize("door", HTTP)
async def test_no_path_leads_to_what_is_anothers(street: Street, scene: Scene, door: str) -> None:
    targets = [elsewhere(path, door, scene.kv.mount) for path in (DENIED_AS, *PATHS)]
    texts = [
        get(target, *headers, method=method)
        for target in targets
        for method in ("GET", "HEAD", "LIST", "POST")
        for headers in ((), ("X-Forwarded-For: 127.0.0.1", "X-Vault-Request: true"))
    ]
    async with hostile_user() as hostile, served_meanwhile(street, door, SECRET[door]):
        for text in texts:
            answer = await street.attack(hostile, "say", street.socket(door), text)
            assert status_of(answer) in (400, 403, 404, 405, 412, 501), (text, answer)


async def test_what_is_anothers_and_what_is_not_there_are_alike(street: Street) -> None:
    """Byte by byte, at the door and for each thing that can be asked of a secret."""
    forms = ("/v1/secrets/{}", "/v1/secrets/{}/password", "/v1/secrets/{}?wait=1s")
    async with hostile_user() as hostile:
        for form in forms:
            texts = [get(form.format(name)) for name in ("app", "guarded", "nosuch")]
            answers = await street.attack(hostile, "say_all", street.socket("secrets"), texts)
            assert len(set(answers)) == 1 and status_of(answers[0]) == 403, answers


# --- smuggling ----------------------------------------------------------------------------------

INNER = "GET /v1/secrets/app HTTP/1.1\r\nHost: x\r\nX-Caller: 0\r\n\r\n"
SMUGGLED = {
    "both lengths": f"POST /v1/secrets HTTP/1.1\r\nHost: x\r\nContent-Length: {len(INNER) + 5}\r\n"
    f"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}",
    "two lengths": "POST /v1/secrets HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
    f"Content-Length: {len(INNER)}\r\n\r\n{INNER}",
    "odd coding": "POST /v1/secrets HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n"
    f"0\r\n\r\n{INNER}",
    "folded": "GET /v1/secrets HTTP/1.1\r\nHost: x\r\nX: a\r\n " + INNER,
    "newlines alone": "GET /v1/secrets HTTP/1.1\nHost: x\n\n" + INNER,
    "in a header": "GET /v1/secrets HTTP/1.1\r\nHost: x\rX: y\r\n\r\n" + INNER,
    "in the target": "GET /v1/secrets\x00/app HTTP/1.1\r\nHost: x\r\n\r\n" + INNER,
    "0.9": "GET /v1/secrets/app\r\n",
    "chunk sizes": "POST /v1/secrets HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    f"0x5\r\nhello\r\n0\r\n\r\n{INNER}",
    "overflow": "POST /v1/secrets HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    f"10000000000000000\r\n{INNER}",
    "behind an answer": get("/v1/secrets/own").replace("close", "keep-alive") + INNER,
    "upgrade": "GET /v1/secrets HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n" + INNER,
    "a tunnel": "CONNECT /v1/secrets/app HTTP/1.1\r\nHost: x\r\n\r\n" + INNER,
}


@pytest.mark.parametrize("door", HTTP)
async def test_a_request_within_another_is_the_same_callers_or_none(
    street: Street, door: str
) -> None:
    """However it is hidden, it is judged as the one that it came with."""
    async with hostile_user() as hostile, served_meanwhile(street, door, SECRET[door]):
        for text in SMUGGLED.values():
            asked = text.replace("/v1/secrets/app", SECRET[door])
            for is_half in (False, True):
                await street.attack(hostile, "say", street.socket(door), asked, is_half)


@pytest.mark.parametrize("door", HTTP)
async def test_half_open_connections(street: Street, door: str) -> None:
    """Who has said that nothing more comes is answered or let go, not kept."""
    async with hostile_user() as hostile, served_meanwhile(street, door, SECRET[door]):
        for text in ("", "GET", f"GET {SECRET[door]} HTTP/1.1\r\nHost:", get(SECRET[door])):
            await street.attack(hostile, "say", street.socket(door), text, True)


# --- who it is ----------------------------------------------------------------------------------


async def test_a_name_as_systemd_binds_it_opens_nothing(street: Street) -> None:
    """The socket is root's alone; were it open to all, the uid would still tell."""
    name = "f00d/unit/app.service/app.password"
    door = street.socket("credentials")
    async with hostile_user() as hostile:
        assert await street.attack(hostile, "forge", door, name) == {"error": "PermissionError"}
        Path(door).chmod(0o666)  # noqa: ASYNC240
        await street.attack(hostile, "forge", door, name)
        answer = await street.attack(hostile, "forge", street.socket("secrets"), name)
    assert answer == ""


async def test_a_pid_that_is_used_again_is_not_who_connected(street: Street) -> None:
    """He connects, the maker ends, and a program that may read has the pid when we look."""
    program = str(street.folder / "program")
    text = get("/v1/secrets/guarded")
    async with hostile_user() as hostile:
        street.agent.send(signal.SIGSTOP)
        number, pid = await street.attack(hostile, "orphan", street.socket("secrets"))
        async with process_with(pid, program) as allowed:
            street.agent.send(signal.SIGCONT)
            answer = await hostile.ask(number, text)
            street.told.append(answer)
            assert status_of(answer) == 403
            connection = await allowed.do("connect", street.socket("secrets"))
            assert status_of(await allowed.ask(connection, text)) == 200


@asynccontextmanager
async def process_with(pid: int, program: str) -> AsyncIterator[Peer]:
    """The program, run by the hostile user's name, under that very pid."""
    for _ in range(200):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))  # noqa: ASYNC240
        async with peer(HOSTILE, program=[program]) as one:
            if one.pid == pid:
                yield one
                return
    pytest.fail(f"pid {pid} was not had again")
