"""Clients of the real secrets API: ours, the command, and those that the document shows."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.client import Denied, NotThere, NotYet, WrongGeneration
from agent.core.clock import SystemClock
from tests.rig.clients import asking
from tests.rig.needs import needs_program
from tests.rig.processes import die_with_parent
from tests.rig.secrets_site import APP, SecretsSite, secrets_site
from tests.rig.waiting import eventually

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
GO_BUILDS_SECONDS = 90


def examples(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found
    return found


@asynccontextmanager
async def served(place: Path) -> AsyncIterator[SecretsSite]:
    """The door at its socket; at the end all who are connected are cut off."""
    loop = asyncio.get_running_loop()
    async with secrets_site(SystemClock()) as site:
        server = await loop.create_unix_server(lambda: site.server(APP), place)
        try:
            yield site
        finally:
            server.close()
            for connection in list(site.server.connections):
                connection.give_up()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[SecretsSite]:
    async with served(tmp_path / "door.sock") as site:
        yield site


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return asking(request.param, str(tmp_path / "door.sock"))


# --- ours -----------------------------------------------------------------------------------------


async def test_an_app_reads_what_is_its_own(site: SecretsSite, client: Any) -> None:
    assert await client.names() == ["database", "web", "webhook"]
    secret = await client.get("database")
    assert secret.value == {"password": "s3same", "key": b"\x00\xff", "port": 5432}
    assert (secret.version, secret.stale, secret.expires_at) == ("3", False, None)
    assert await client.field("database", "key") == b"\x00\xff"


async def test_refusals_are_told_apart_only_where_they_may_be(
    site: SecretsSite, client: Any
) -> None:
    said = set()
    for name in ("other", "nothing", "..", "database/password"):
        with pytest.raises(Denied) as raised:
            await client.get(name)
        said.add(str(raised.value))
    assert len(said) == 1
    with pytest.raises(NotThere):
        await client.field("database", "nothing")
    with pytest.raises(NotYet) as late:
        await client.get("web")
    assert late.value.retry_after >= 1


async def test_what_an_app_says_arrives(site: SecretsSite, client: Any) -> None:
    await client.refused("database", "3")
    await client.confirm("app", 7)
    await client.confirm("app", 7, "no connection")
    assert site.refused == [("database", "3")]
    assert site.bundles.said == [("app", 7, None), ("app", 7, "no connection")]
    with pytest.raises(WrongGeneration):
        await client.confirm("app", 8)
    with pytest.raises(Denied):
        await client.confirm("extra", 3)


async def test_watching_goes_on_over_a_restart(tmp_path: Path, client: Any) -> None:
    place = tmp_path / "door.sock"
    watching = client.watch("database")
    async with asyncio.timeout(30):
        async with served(place) as site:
            assert (await anext(watching)).version == "3"
            site.put("database", "4", password="new")
            assert (await anext(watching)).value == {"password": "new"}
        place.unlink(missing_ok=True)
        async with served(place) as site:
            for version in ("4", "5"):  # an entity tag of its own: this is no other process
                site.put("database", version, password="newest")
            assert (await anext(watching)).version == "5"
            site.put("database", "6", password="last")
            assert (await anext(watching)).version == "6"
    await watching.aclose()


# --- others ---------------------------------------------------------------------------------------


async def ran(tmp_path: Path, *command: str | Path) -> tuple[int | None, bytes]:
    """Exit code and output of a client, with the socket in its environment."""
    process = await begun(tmp_path, *command)
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    return process.returncode, out


async def begun(tmp_path: Path, *command: str | Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "LEASEHOLD_SOCKET": str(tmp_path / "door.sock"),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


async def watches(site: SecretsSite, tmp_path: Path, command: Sequence[str | Path]) -> None:
    """The program tells of the value that there is, and of the next one."""
    process = await begun(tmp_path, *command)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            while not re.search(rb'(database |"version":")3\b', await process.stdout.readline()):
                pass
            site.put("database", "4", password="new")
            assert re.search(rb'(database |"version":")4\b', await process.stdout.readline())
    finally:
        os.killpg(process.pid, 9)
        await process.communicate()


async def test_the_command_gets_it(site: SecretsSite, tmp_path: Path) -> None:
    get = (sys.executable, "-m", "agent", "get")
    assert await ran(tmp_path, *get, "database.key") == (0, b"\x00\xff")
    assert await ran(tmp_path, *get, "other") == (1, b"")
    assert await ran(tmp_path, *get, "web") == (3, b"")


async def test_the_command_waits_for_it(site: SecretsSite, tmp_path: Path) -> None:
    get = (sys.executable, "-m", "agent", "get", "web.token", "--wait", "30s")
    process = await begun(tmp_path, *get)
    await eventually(lambda: site.audited)
    site.put("web", "1", token="here")
    async with asyncio.timeout(30):
        assert (await process.communicate())[0] == b"here"


async def test_curl_gets_it(site: SecretsSite, tmp_path: Path) -> None:
    needs_program("curl")
    single, loop = examples("sh")
    assert await ran(tmp_path, "sh", "-c", single) == (0, b"s3same")
    await watches(site, tmp_path, ["sh", "-c", loop.replace("sleep 1", "sleep 0.1")])


async def test_python_watches_it(site: SecretsSite, tmp_path: Path) -> None:
    (program,) = examples("python")
    await watches(site, tmp_path, [sys.executable, "-c", program])


async def test_node_watches_it(site: SecretsSite, tmp_path: Path) -> None:
    needs_program("node")
    (program,) = examples("js")
    (tmp_path / "watch.js").write_text(program)
    await watches(site, tmp_path, ["node", "watch.js"])


async def test_go_watches_it(site: SecretsSite, tmp_path: Path) -> None:
    go = needs_program("go")
    (program,) = examples("go")
    (tmp_path / "main.go").write_text(program)
    build = await begun(tmp_path, go, "build", "-o", "watch", "main.go")
    async with asyncio.timeout(GO_BUILDS_SECONDS):
        assert await build.wait() == 0
        await build.communicate()
    await watches(site, tmp_path, [tmp_path / "watch"])
