"""The real agent, confined by the real kernel, and what it says of itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.stores.local.file import EntriesFile
from tests.rig.agent import Start
from tests.rig.local_store import local_store_in, made, put
from tests.rig.needs import needs_landlock
from tests.rig.waiting import eventually


@pytest.fixture
def file(leasehold: Start) -> EntriesFile:
    """A local store beside the configuration; `app` has a password."""
    return made(local_store_in(leasehold.file.parent))


def configuration(directory: Path, **more: Any) -> dict[str, Any]:
    return {
        "stores": {
            "local": {"type": "local", "file": "secrets.sealed", "key": {"file": "key"}},
        },
        "secrets": {"app": {"path": "app"}},
        "bundles": {
            "app": {
                "directory": str(directory),
                "debounce": "50ms",
                "files": {"password": "{{ app.password }}"},
            }
        },
        **more,
    }


@pytest.mark.parametrize("landlock", ["on", "off"])
async def test_a_link_that_is_turned_meanwhile_leads_no_write_elsewhere(
    leasehold: Start, file: EntriesFile, memory_directory: Path, landlock: str
) -> None:
    needs_landlock()
    for name in ("ours", "elsewhere"):
        (memory_directory / name).mkdir()
    link = memory_directory / "link"
    link.symlink_to("ours")
    leasehold.configure(configuration(link / "app", hardening={"landlock": landlock}))
    agent = await leasehold()
    await agent.event("ready", within=60)
    agent.skip()
    turned = memory_directory / "turned"
    turned.symlink_to("elsewhere")
    turned.rename(link)
    await asyncio.to_thread(lambda: put(file, "app", password="two"))
    if landlock == "on":
        failed = await agent.event("bundle_failed", step="publish", within=60)
        assert str(link) in failed["reason"]
        assert not any((memory_directory / "elsewhere").iterdir())
        assert (memory_directory / "ours/app/password").read_text() == "one"
    else:
        there = memory_directory / "elsewhere/app/password"
        await eventually(lambda: there.exists() and there.read_text() == "two", within=60)
    assert (await agent.stop()).code == 0


async def test_it_says_what_is_in_force_and_refuses_what_it_can_not_become(
    leasehold: Start, file: EntriesFile, memory_directory: Path
) -> None:
    needs_landlock()
    first = configuration(memory_directory / "ours/app")
    (memory_directory / "ours").mkdir()
    leasehold.configure(first)
    agent = await leasehold()
    told = await agent.event("process_hardened", within=60)
    assert {"core dumps off", "private memory", "no new privileges", "writes confined"} <= set(
        told["in_force"]
    )
    await agent.event("ready", within=60)
    leasehold.configure(configuration(memory_directory / "elsewhere/app"))
    refused = await agent.event("reload_refused", within=60)
    [problem] = refused["problems"]
    assert problem.startswith("bundles.app.directory: this run may not write to ")
    assert problem.endswith("start the agent again")
    leasehold.configure(first)
    await agent.event("reloaded", within=60)
    assert (await agent.stop()).code == 0


async def test_what_must_be_and_can_t_be_had_is_no_start(
    leasehold: Start, file: EntriesFile, memory_directory: Path
) -> None:
    bundles = configuration(memory_directory / "app")["bundles"]
    bundles["app"]["notify"] = [{"signal": "HUP", "process": "/usr/bin/app"}]
    leasehold.configure(
        configuration(memory_directory / "app", bundles=bundles, hardening={"landlock": "on"})
    )
    done = await (await leasehold(None)).wait()
    assert done.code == 2
    assert "hardening.landlock: is on, and can't be had: " in done.err
    assert "bundles.app.notify[0].process" in done.err
    assert not (memory_directory / "app").exists()


async def test_check_judges_the_host_it_runs_on(
    leasehold: Start, file: EntriesFile, memory_directory: Path
) -> None:
    leasehold.configure(configuration(memory_directory / "app"))
    done = await (await leasehold(None, "check")).wait()
    assert done.code == 0, done.err
    said = done.out.splitlines()
    assert said[:2] == [
        "ok: 1 store, 1 secret, 1 bundle",
        "an agent started here, by this user, would have (none of it is an error):",
    ]
    assert all(line.startswith(("  yes ", "  no  ")) for line in said[2:])
    for name in ("core dumps off", "private memory", "memory lock", "writes confined", "user"):
        assert any(line[6:].startswith(f"{name}: ") for line in said), name
