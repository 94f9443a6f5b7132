"""Who read what through the doors of a running agent: in the audit once, provably."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.rig.doors import ALICE, BOB, Doors
from tests.rig.memory import MakeTmpfs
from tests.rig.waiting import eventually


async def test_each_access_is_there_once_with_who_it_was(doors: Doors) -> None:
    agent = await doors.start()
    await doors.curl("/v1/secrets/web")
    await doors.curl("/v1/secrets/web/password")
    await doors.curl("/v1/secrets/web", uid=BOB)
    said = [
        (each["caller"]["uid"], each["secret"], each.get("field"), each["decision"], each["status"])
        for each in doors.records()
    ]
    assert said == [
        (ALICE, "web", None, "allowed", 200),
        (ALICE, "web", "password", "allowed", 200),
        (BOB, "web", None, "denied", 403),
    ]
    assert not any(each in str(doors.records()) for each in doors.values.values())
    await agent.stop()
    assert (await doors.verdict()).is_good


async def test_the_chain_holds_over_a_kill(doors: Doors) -> None:
    agent = await doors.start()
    await doors.curl("/v1/secrets/web")
    agent.send(signal.SIGKILL)
    await agent.wait()
    agent = await doors.start()
    await doors.curl("/v1/secrets/web")
    await agent.stop()
    assert (await doors.verdict()).is_good
    assert len(doors.records()) == 2


async def test_sighup_goes_on_in_a_new_file(doors: Doors) -> None:
    assert doors.audit.file is not None
    agent = await doors.start()
    moved = doors.audit.file.rename(doors.audit.file.with_name("moved"))
    agent.send(signal.SIGHUP)
    await agent.event("reloaded")
    await doors.curl("/v1/secrets/web")
    assert len(doors.records()) == 1 and '"access"' not in moved.read_text()


async def full(doors: Doors, folder: Path) -> Path:
    """The rest of a small file system, taken; what takes it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            pass
    return ballast


async def test_on_a_full_disk_closed_refuses_until_there_is_room(
    doors: Doors, make_tmpfs: MakeTmpfs
) -> None:
    folder = make_tmpfs("size=256k,mode=0700")
    doors.audit = type(doors.audit)(file=folder / "audit.jsonl")
    agent = await doors.start()
    ballast = await full(doors, folder)
    statuses: list[int] = []
    while 503 not in statuses:  # the file's last page has room for some
        statuses.append((await doors.curl("/v1/secrets/web"))[0])
        assert len(statuses) < 40
    await agent.event("audit_failed", is_closed=True)
    ballast.unlink()
    assert (await doors.curl("/v1/secrets/web"))[0] == 200
    await agent.event("audit_back")
    await agent.stop()
    assert (await doors.verdict()).is_good
    (gap,) = doors.records("gap")
    assert gap["refused"] == statuses.count(503)


async def test_on_a_full_disk_open_answers_and_tells_of_the_gap(
    doors: Doors, make_tmpfs: MakeTmpfs
) -> None:
    folder = make_tmpfs("size=256k,mode=0700")
    doors.audit = type(doors.audit)(file=folder / "audit.jsonl")
    audit = {"file": str(doors.audit.file), "on_error": "open"}
    agent = await doors.start(doors.configuration(audit=audit))
    ballast = await full(doors, folder)
    asked = 0
    while not agent.all("audit_failed"):
        assert (await doors.curl("/v1/secrets/web"))[0] == 200
        asked += 1
        assert asked < 40
    ballast.unlink()
    await doors.curl("/v1/secrets/web")
    await agent.event("audit_back")
    await eventually(lambda: doors.records("gap"))
    (gap,) = doors.records("gap")
    assert gap["lost"] >= 1 and gap["refused"] == 0
    await agent.stop()
    assert (await doors.verdict()).is_good
