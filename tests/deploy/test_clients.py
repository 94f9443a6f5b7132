"""Clients of the secrets API in other languages, as `docs/clients.md` has them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.rig.needs import needs_program
from tests.rig.processes import die_with_parent
from tests.rig.secrets_site import SecretsSite, served
from tests.rig.waiting import eventually

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[SecretsSite]:
    async with served(tmp_path / "door.sock") as site:
        yield site


def examples(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found
    return found


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


@pytest.mark.timeout(300)
async def test_go_watches_it(site: SecretsSite, tmp_path: Path) -> None:
    go = needs_program("go")
    (program,) = examples("go")
    (tmp_path / "main.go").write_text(program)
    build = [go, "build", "-o", "watch", "main.go"]
    await asyncio.to_thread(subprocess.run, build, cwd=tmp_path, check=True, timeout=240)
    await watches(site, tmp_path, [tmp_path / "watch"])
