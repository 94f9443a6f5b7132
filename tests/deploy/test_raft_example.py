"""The cluster of `deploy/raft`, its leader killed under two hundred agents, and back again."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from agent.cli.options import loader
from deploy.raft.__main__ import ports_from, set_up
from deploy.raft.servers import HERE, Raft
from tests.rig.agent import Start
from tests.rig.many import Many, many
from tests.rig.needs import needs_program
from tests.rig.postgres import Postgres, mount_database
from tests.rig.processes import free_port
from tests.rig.waiting import eventually

AGENTS = 200
READ = ("app", "one", "two")
WITHIN = 60.0

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def raft(tmp_path: Path) -> Iterator[Raft]:
    needs_program("haproxy")
    raft = Raft(tmp_path, ports_from(free_port() for _ in range(7)))
    yield raft
    raft.close()


def configuration(raft: Raft, folder: Path, database: str, **secret: str) -> Path:
    """The example's, with two more values and a leased credential."""
    text = (HERE / "leasehold.yaml").read_text()
    text = text.replace("${RAFT_ADDRESS:-http://127.0.0.1:8200}", raft.address)
    spec = yaml.safe_load(text.replace("${RAFT}", str(folder)))
    spec["stores"]["vault"]["timeout"] = "30s"  # a lease whose answer is too late is nobody's
    secrets = spec["secrets"]
    secrets |= {"one": secrets["app"], "two": secrets["app"], "db": {"path": database, **secret}}
    files = {"all": "{{ app.text }} {{ one.text }} {{ two.text }} {{ db.username }}"}
    spec["bundles"] = {"app": {"directory": "/dev/shm/nowhere", "files": files}}
    file = folder / "agents.yaml"
    file.write_text(yaml.safe_dump(spec))
    return file


def files(memory: Path) -> dict[int, str]:
    return {number: (memory / str(number) / "app" / "all").read_text() for number in range(AGENTS)}


def tell(what: str, agents: Many, since: float) -> None:
    """A figure for docs/scale.md (`pytest -s`)."""
    now = agents.clock.now()
    mean, peak = agents.rate(since, now)
    print(f"{what}: {now - since:.1f} s, {mean:.0f} requests/s, {peak} at most")


async def test_the_leader_is_killed_under_two_hundred_agents(
    raft: Raft, postgres: Postgres, tmp_path: Path, memory_directory: Path
) -> None:
    set_up(raft.bao, tmp_path)
    database = mount_database(raft.bao, postgres, ttl="60s", max_ttl="1h")
    rules = (HERE / "policy.hcl").read_text()
    rules += f'\npath "{database.path}" {{ capabilities = ["read"] }}'
    raft.bao.request("PUT", "sys/policies/acl/app", {"policy": rules})
    file = configuration(raft, tmp_path, database.path)
    loaded = await asyncio.to_thread(loader((file,)))
    async with many(loaded.configuration, AGENTS, memory_directory) as agents:
        start = agents.clock.now()
        await eventually(lambda: agents.told["BundlePublished"] >= AGENTS, within=WITHIN)
        tell("start of all", agents, start)
        steady = agents.clock.now()
        agents.await_again(READ)
        await eventually(agents.is_whole, within=WITHIN)
        tell("steady", agents, steady)
        before, leases, failed = files(memory_directory), agents.leases(), agents.failed
        assert len(leases) == AGENTS

        leader = raft.leader
        await asyncio.to_thread(leader.end, signal.SIGKILL)
        killed = agents.clock.now()
        agents.await_again(READ)
        await eventually(agents.is_whole, within=WITHIN)
        tell("leader killed: whole again", agents, killed)
        assert files(memory_directory) == before, "nobody has lost what it had"
        assert agents.failed - failed < 20 * AGENTS, "nobody hammers"

        await asyncio.to_thread(raft.restart, leader)
        back = agents.clock.now()
        agents.await_again(READ)
        await eventually(agents.is_whole, within=WITHIN)
        tell("the old leader is back", agents, back)
        assert files(memory_directory) == before
        assert agents.told["LoggedIn"] == AGENTS, "nobody had to log in again"
        assert not agents.told["TokenLost"] and not agents.told["LeaseLost"]
        raft.bao.address = raft.leader.address
        assert agents.leases() == leases, "no lease was made anew"
        assert leases <= set(database.leases()), "none was lost"
    assert not agents.told["LeasesNotRevoked"], agents.last["LeasesNotRevoked"]
    await eventually(lambda: not database.leases(), within=WITHIN)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the example's bundle is."""
    folder = Path("/dev/shm/leasehold-raft")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def test_the_example_as_it_is_described(
    raft: Raft, leasehold: Start, folder: Path, tmp_path: Path
) -> None:
    """One agent with the file that is there, and a value that changes while the leader is gone."""
    set_up(raft.bao, tmp_path)
    spec = yaml.safe_load((HERE / "leasehold.yaml").read_text())
    environment = {"RAFT": str(tmp_path), "RAFT_ADDRESS": raft.address}
    agent = await leasehold(spec, environment=environment)
    await agent.event("ready", within=WITHIN)
    greeting = folder / "greeting"
    await eventually(lambda: greeting.read_text() == "good morning\n")
    leader = raft.leader
    await asyncio.to_thread(leader.end, signal.SIGKILL)
    await eventually(lambda: any(each.health() == 200 for each in raft.servers), within=WITHIN)
    raft.bao.address = raft.leader.address
    raft.bao.request("POST", "secret/data/app", {"data": {"text": "good evening"}})
    await eventually(lambda: greeting.read_text() == "good evening\n", within=WITHIN)
    assert (await agent.stop()).code == 0
