"""Hostile surroundings of a credential's files: no room, no directory, another one in its place."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rig.agent import Leasehold, Start
from tests.rig.app import Diary
from tests.rig.memory import MakeTmpfs
from tests.rig.postgres import Database, MakeDatabase, Postgres
from tests.rig.scene import Scene, value

CREDENTIAL = "{{ db.username }} {{ db.password }}"


class Kept:
    """A database credential in `directory`, and the real login with it."""

    def __init__(self, scene: Scene, made: Database, postgres: Postgres, directory: Path) -> None:
        self.scene, self.made, self.postgres, self.directory = scene, made, postgres, directory
        self.diary = Diary(scene.folder)
        scene.allow(made.path, "read")

    async def started(self, leasehold: Start) -> Leasehold:
        bundle = self.scene.bundle(
            "app",
            {"credential": CREDENTIAL},
            directory=str(self.directory),
            notify=[{"command": self.diary.command}],
        )
        secrets = {"db": {"path": self.made.path}}
        agent = await leasehold(self.scene.configuration(secrets=secrets, bundles={"app": bundle}))
        await agent.event("ready")
        return agent

    def held(self) -> str:
        return (self.directory / "credential").read_text()

    def works(self) -> bool:
        return self.postgres.can_log_in(*self.held().split())

    def minted(self) -> int:
        return len(self.scene.proxy.requests(self.made.path))


MakeKept = Callable[[Path], Kept]


@pytest.fixture
def kept(scene: Scene, database: MakeDatabase, postgres: Postgres) -> MakeKept:
    made = database(ttl="1h")
    return lambda directory: Kept(scene, made, postgres, directory)


async def rotated(agent: Leasehold, leasehold: Start) -> None:
    """Somebody wanted another credential, and the agent has it."""
    agent.skip()
    assert (await (await leasehold(command="refresh", arguments=["db"])).wait()).code == 0
    await agent.event("secret_read", secret="db", is_changed=True)


def filled(filesystem: Path) -> Callable[[], object]:
    filler = filesystem / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    return filler.unlink


def crowded(filesystem: Path) -> Callable[[], object]:
    fillers = [filesystem / f"filler-{n}" for n in range(os.statvfs(filesystem).f_ffree)]
    for filler in fillers:
        filler.touch()

    def make_room() -> None:
        for filler in fillers:
            filler.unlink()

    return make_room


@pytest.mark.parametrize("fill", [filled, crowded])
async def test_no_room_for_a_rotation_mints_nothing_more_and_ends_with_the_room(
    leasehold: Start,
    kept: MakeKept,
    make_tmpfs: MakeTmpfs,
    fill: Callable[[Path], Callable[[], object]],
) -> None:
    filesystem = make_tmpfs("size=64k,nr_inodes=40,mode=0755")
    story = kept(filesystem / "app")
    agent = await story.started(leasehold)
    before = story.held()
    make_room = fill(filesystem)
    await rotated(agent, leasehold)
    for _ in range(3):
        failed = await agent.event("bundle_failed", bundle="app", step="publish")
        assert "no space or inodes left on tmpfs" in failed["message"]
        assert story.held() == before and story.works()
    make_room()
    await agent.event("bundle_notified", generation=2)
    await agent.event("lease_revoked")
    assert story.held() != before and story.works()
    assert story.minted() == 2 and len(story.made.leases()) == 1
    assert len(story.diary.entries()) == 1
    await agent.stop()
    assert not story.made.leases()


async def test_a_link_in_the_directorys_place_is_not_followed_and_outlived(
    leasehold: Start, kept: MakeKept, scene: Scene
) -> None:
    """Whoever may write in the parent can't have the credential put where he likes."""
    story = kept(scene.memory / "app")
    agent = await story.started(leasehold)
    trap = scene.memory / "trap"
    trap.mkdir(mode=0o755)
    story.directory.rename(scene.memory / "aside")
    story.directory.symlink_to(trap)
    await rotated(agent, leasehold)
    failed = await agent.event("bundle_failed", bundle="app", step="publish")
    assert "link" in failed["message"].lower()
    await agent.event("bundle_failed", bundle="app", step="publish")
    assert not list(trap.iterdir())
    story.directory.unlink()
    await agent.event("lease_revoked", within=15)
    assert len(story.made.leases()) == 1
    assert story.works() and story.minted() == 2
    await agent.stop()
    assert not list(trap.iterdir())


async def run(*command: str | Path) -> None:
    await asyncio.to_thread(subprocess.run, command, check=True)


async def test_a_filesystem_that_is_unmounted_puts_nothing_on_the_disk_below(
    leasehold: Start, kept: MakeKept, make_tmpfs: MakeTmpfs
) -> None:
    filesystem = make_tmpfs("size=1m,mode=0755")
    story = kept(filesystem / "app")
    agent = await story.started(leasehold)
    await run("umount", "-l", filesystem)
    try:
        await rotated(agent, leasehold)
        failed = await agent.event("bundle_failed", bundle="app", step="publish")
        assert "memory" in failed["message"], failed
        assert not list(filesystem.rglob("*")), "a secret is on the disk"
    finally:
        await run("mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs", filesystem)
    await agent.event("lease_revoked", within=15)
    assert len(story.made.leases()) == 1
    assert story.works() and story.minted() == 2
    await agent.stop()


async def test_a_template_of_eight_megabytes_is_a_file_like_any_other(
    leasehold: Start, scene: Scene
) -> None:
    line = "{{ app.password }}" + "." * 80 + "\n"
    template = "{% for _ in range(100000) %}" + line + "{% endfor %}"
    scene.kv.put("app", password=value())
    agent = await leasehold(
        scene.configuration(
            secrets={"app": scene.secret("app")},
            bundles={"app": scene.bundle("app", {"big": template})},
        )
    )
    await agent.event("ready")
    file = scene.memory / "app/big"
    assert file.stat().st_size > 8_000_000
    before = peak(agent)
    for number in (2, 3, 4, 5):
        password = value()
        scene.kv.put("app", password=password)
        await agent.event("bundle_published", generation=number)
        assert file.read_bytes().count(password.encode()) == 100_000
    assert peak(agent) < before + 64_000, "kB"
    assert (await agent.stop()).code == 0


def peak(agent: Leasehold) -> int:
    """The most memory that it ever had, in kB."""
    status = Path(f"/proc/{agent.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
