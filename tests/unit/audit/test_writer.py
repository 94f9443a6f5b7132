"""From the loop to the file: in order, before the answer, and what happens when it can't be."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.audit.record import Access
from agent.config.model import Audit as Spec
from agent.core.clock import Clock, SystemClock
from agent.core.errors import AuditError, ConfigurationError
from agent.core.events import (
    AuditBack,
    AuditFailed,
    AuditSuspect,
    BundlePublished,
    LeaseRenewed,
    SecretRead,
)
from tests.rig.audited import Audited, proven, spec_of
from tests.rig.clock import JumpClock
from tests.rig.memory import MakeTmpfs
from tests.rig.waiting import eventually


@asynccontextmanager
async def audited(spec: Spec, clock: Clock | None = None) -> AsyncIterator[Audited]:
    site = Audited(spec, clock or SystemClock())
    await site.audit.open()
    try:
        yield site
    finally:
        await site.audit.close()


def records(spec: Spec, number: int = 0) -> list[dict[str, Any]]:
    assert spec.file is not None
    path = spec.file.with_name(f"{spec.file.name}.{number}") if number else spec.file
    return [msgspec.json.decode(each) for each in path.read_bytes().splitlines()]


def fill(folder: Path) -> Path:
    """Take all the space that is left."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(512))
    return path


def cut(spec: Spec, lines: int) -> None:
    """Take so many lines off the end."""
    assert spec.file is not None
    kept = spec.file.read_bytes().splitlines(keepends=True)[:-lines]
    spec.file.write_bytes(b"".join(kept))


def add(spec: Spec, content: bytes) -> None:
    """Write at the end, as long as there is room."""
    assert spec.file is not None
    with spec.file.open("ab", buffering=0) as file:
        file.write(content)


def modes(folder: Path) -> dict[str, int]:
    return {each.name: each.stat().st_mode & 0o777 for each in folder.iterdir()}


def sizes(folder: Path) -> dict[str, int]:
    """Of the files of records."""
    files = (each for each in folder.iterdir() if each.suffix not in (".head", ".key"))
    return {each.name: each.stat().st_size for each in files}


def take_away(spec: Spec, to: Path | None) -> None:
    assert spec.file is not None
    spec.file.rename(to) if to else spec.file.unlink()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "audit"
    path.mkdir(mode=0o700)
    return path


async def test_records_of_one_turn_are_written_together_and_in_order(folder: Path) -> None:
    spec = spec_of(folder)
    async with audited(spec) as site:
        names = [f"secret{number}" for number in range(200)]
        assert await site.ask(*names) == [True] * 200
        assert [each["secret"] for each in records(spec) if each["event"] == "access"] == names
    assert [each["event"] for each in (records(spec)[0], records(spec)[-1])] == ["head", "state"]
    assert [each["seq"] for each in records(spec)] == list(range(1, 203))
    assert (await proven(spec)).is_good


async def test_a_record_is_in_the_file_before_the_answer(folder: Path) -> None:
    spec = spec_of(folder)
    seen: list[bool] = []
    async with audited(spec) as site:
        came = asyncio.Event()
        file = os.open(folder / "audit.jsonl", os.O_RDONLY)

        def done(is_written: bool) -> None:
            seen.append(is_written and b'"secret":"mine"' in os.pread(file, 4096, 0))
            came.set()

        site.audit.append(Access("secrets", "mine"), done)
        await came.wait()
        os.close(file)
    assert seen == [True]


async def test_files_are_the_owners_only(folder: Path) -> None:
    async with audited(spec_of(folder)) as site:
        await site.ask("a")
    names = ("audit.jsonl", "audit.jsonl.head", "audit.jsonl.key")
    assert modes(folder) == dict.fromkeys(names, 0o600)


async def test_one_answer_that_raises_keeps_none_waiting(folder: Path) -> None:
    async with audited(spec_of(folder)) as site:
        came = asyncio.Event()
        raised: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: raised.append(context.get("exception"))
        )

        def broken(is_written: bool) -> None:
            raise ZeroDivisionError

        site.audit.append(Access("secrets", "a"), broken)
        site.audit.append(Access("secrets", "b"), lambda _: came.set())
        async with asyncio.timeout(10):
            await came.wait()
        assert [type(each) for each in raised] == [ZeroDivisionError]


# --- a full disk ------------------------------------------------------------------------------


@pytest.mark.parametrize(("on_error", "answer"), [("closed", False), ("open", True)])
async def test_a_full_disk_refuses_or_counts_and_passes(
    make_tmpfs: MakeTmpfs, on_error: Any, answer: bool
) -> None:
    folder = make_tmpfs("size=64k,mode=0700")
    spec = spec_of(folder, on_error=on_error)
    async with audited(spec) as site:
        assert await site.ask("before") == [True]
        filler = fill(folder)
        answers = [await site.ask(f"during{n}" * 40, "and") for n in range(50)]
        failing = [each for each in answers if each != [True, True] or site.audit.is_failing]
        assert failing and all(each == [answer] * 2 for each in answers[-30:])
        assert [(type(each), each.level) for each in site.events] == [(AuditFailed, 40)]
        assert "No space left" in str(site.events[0])
        filler.unlink()
        assert await site.ask("after") == [True]
    back = site.told(AuditBack)
    assert len(back) == 1 and isinstance(back[0], AuditBack)
    assert (back[0].refused, back[0].lost)[on_error == "open"] >= 60
    assert (back[0].refused, back[0].lost)[on_error == "closed"] == 0
    gaps = [each for each in records(spec) if each["event"] == "gap"]
    assert [(each["lost"], each["refused"]) for each in gaps] == [(back[0].lost, back[0].refused)]
    assert (await proven(spec)).is_good and not (await proven(spec)).remarks


async def test_a_disk_that_is_full_at_the_start_is_told_and_passes(make_tmpfs: MakeTmpfs) -> None:
    folder = make_tmpfs("size=64k,mode=0700")
    spec = spec_of(folder)
    async with audited(spec) as site:
        await site.ask("before")
    filler = fill(folder)
    with pytest.raises(OSError, match="No space left"):
        while True:
            add(spec, b"x")
    async with audited(spec) as site:
        assert site.audit.is_failing and site.told(AuditFailed)
        assert await site.ask("during") == [False]
        filler.unlink()
        assert await site.ask("after") == [True]
    verdict = await proven(spec)
    assert verdict.is_good and "torn" in verdict.remarks[0]


# --- rotation ---------------------------------------------------------------------------------


async def test_rotation_under_load_keeps_the_chain_and_so_many_files(folder: Path) -> None:
    spec = spec_of(folder, max_size=8192, keep=3)
    async with audited(spec) as site:
        for _ in range(40):
            assert await site.ask(*["database"] * 10) == [True] * 10
    names = ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.3"]
    assert sorted(sizes(folder)) == names and max(sizes(folder).values()) < 12000
    verdict = await proven(spec)
    assert verdict.is_good and verdict.first_seq > 100 and verdict.last_seq > 400
    first = records(spec, 3)[0]
    assert (first["event"], first["reason"], first["last_seq"]) == (
        "head",
        "rotated",
        verdict.first_seq - 1,
    )
    assert site.events == []
    (folder / "audit.jsonl.3").unlink()
    assert "missing" in (await proven(spec)).problems[0]


async def test_without_any_to_keep_the_file_begins_anew(folder: Path) -> None:
    spec = spec_of(folder, max_size=4096, keep=0)
    async with audited(spec) as site:
        for _ in range(20):
            await site.ask(*["database"] * 5)
    assert not (folder / "audit.jsonl.1").exists()
    assert (await proven(spec)).is_good and records(spec)[0]["reason"] == "rotated"


@pytest.mark.parametrize("how", ["moved", "deleted"])
async def test_a_file_that_was_taken_away_is_begun_anew(folder: Path, how: str) -> None:
    clock = JumpClock()
    spec = spec_of(folder)
    async with audited(spec, clock) as site:
        await site.ask("a", "b")
        take_away(spec, folder / "moved" if how == "moved" else None)
        site.audit.reopen()
        assert await site.ask("c") == [True]
        assert "moved away or deleted" in str(site.told(AuditSuspect)[0])
    assert records(spec)[0]["reason"] == "moved"
    assert "records 1 to 3 are missing" in (await proven(spec)).problems[0]
    if how == "moved":
        take_away(Spec(file=folder / "moved"), folder / "audit.jsonl.1")
        assert (await proven(spec)).is_good


async def test_that_is_noticed_within_a_second_without_being_told(folder: Path) -> None:
    clock = JumpClock()
    spec = spec_of(folder)
    async with audited(spec, clock) as site:
        await site.ask("a")
        take_away(spec, folder / "moved")
        await clock.advance(1.0)
        await site.ask("b")
        assert [each.get("secret") for each in records(spec)] == [None, "b"]


async def test_a_cut_while_it_runs_is_noticed_and_found(folder: Path) -> None:
    spec = spec_of(folder)
    async with audited(spec) as site:
        await site.ask("a", "b", "c")
        cut(spec, 2)
        site.audit.reopen()
        await site.ask("d")
        assert "was cut" in str(site.told(AuditSuspect)[0])
    problems = (await proven(spec)).problems
    assert "was cut" in problems[0] and "records 3 to 4 are missing" in problems[1]


async def test_what_was_kept_beyond_the_number_goes(folder: Path) -> None:
    for keep in (6, 2):
        spec = spec_of(folder, max_size=4096, keep=keep)
        async with audited(spec) as site:
            for _ in range(20):
                await site.ask(*["database"] * 10)
        assert len(sizes(folder)) == keep + 1
        assert (await proven(spec)).is_good


async def test_with_sync_the_disk_confirms_each_write(folder: Path) -> None:
    spec = spec_of(folder, sync=True)
    async with audited(spec) as site:
        assert await site.ask("a", "b") == [True, True]
    assert (await proven(spec)).is_good


async def test_a_head_that_can_not_be_written_is_told_once(make_tmpfs: MakeTmpfs) -> None:
    folder = make_tmpfs("nr_inodes=5,mode=0700")
    clock = JumpClock()
    spec = spec_of(folder)
    site = Audited(spec, clock)
    await site.audit.open()
    (folder / "filler").touch()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(site.audit.run())
        for _ in range(3):
            assert await site.ask("a") == [True]
            await clock.advance(1.0)
            await eventually(lambda: site.told(AuditSuspect))
        running.cancel()
    assert "head: can't be written: No space left" in str(site.told(AuditSuspect)[0])
    (folder / "filler").unlink()
    await site.audit.close()
    assert len(site.events) == 1 and (await proven(spec)).is_good


# --- the start --------------------------------------------------------------------------------


async def ran(folder: Path, *names: str) -> Spec:
    spec = spec_of(folder)
    async with audited(spec) as site:
        await site.ask(*names)
    return spec


async def test_the_chain_goes_on_over_restarts(folder: Path) -> None:
    for number in range(4):
        spec = await ran(folder, f"run{number}")
    assert (await proven(spec)).is_good and (await proven(spec)).last_seq == 12


async def test_a_tail_cut_off_while_nobody_looked_is_told_at_the_next_start(folder: Path) -> None:
    spec = await ran(folder, "a", "b", "c")
    cut(spec, 3)
    async with audited(spec) as site:
        suspect = str(site.told(AuditSuspect)[0])
    assert "records 3 to 5 are missing" in suspect and "cut off" in suspect
    head = next(each for each in records(spec) if each["seq"] == 6)
    assert (head["missing"], head["after_crash"]) == ([3, 5], False)
    assert (await proven(spec)).problems == [f"records 3 to 5 are missing before {spec.file}:3"]


async def test_a_lost_or_changed_head_is_told_at_the_next_start_and_ever_after(
    folder: Path,
) -> None:
    spec = await ran(folder, "a")
    head = folder / "audit.jsonl.head"
    head.write_bytes(head.read_bytes().replace(b'"seq":3', b'"seq":2'))
    async with audited(spec) as site:
        assert "was changed" in str(site.told(AuditSuspect)[0])
    head.unlink()
    async with audited(spec) as site:
        assert "missing" in str(site.told(AuditSuspect)[0])
    assert len((await proven(spec)).problems) == 2


async def test_a_line_torn_by_a_crash_is_gone_on_from(folder: Path) -> None:
    spec = await ran(folder, "a")
    add(spec, b'{"seq":4,"at":"2026-')
    async with audited(spec) as site:
        await site.ask("b")
        assert site.events == []
    verdict = await proven(spec)
    assert verdict.is_good and "torn by a crash" in verdict.remarks[0]


async def test_a_missing_key_is_a_new_one_and_told(folder: Path) -> None:
    spec = await ran(folder, "a")
    (folder / "audit.jsonl.key").unlink()
    async with audited(spec) as site:
        assert "can't be proven" in str(site.told(AuditSuspect)[0])


def a_link(folder: Path) -> None:
    (folder / "elsewhere").touch(0o600)
    (folder / "audit.jsonl").symlink_to(folder / "elsewhere")


def a_shared_file(folder: Path) -> None:
    (folder / "audit.jsonl").touch()
    (folder / "audit.jsonl").chmod(0o640)


def a_shared_directory(folder: Path) -> None:
    folder.chmod(0o777)


def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "audit.jsonl", 0o600)


def a_foreign_file(folder: Path) -> None:
    (folder / "audit.jsonl").touch(0o600)
    os.chown(folder / "audit.jsonl", 12345, 12345)


@pytest.mark.parametrize(
    ("done_by", "why"),
    [
        (a_link, "is a link"),
        (a_shared_file, "mode 0640"),
        (a_shared_directory, "mode 0777"),
        (a_pipe, "can't be opened|not a regular file"),
        (a_foreign_file, "owned by user 12345"),
    ],
)
async def test_what_others_could_meddle_with_is_refused(
    folder: Path, done_by: Callable[[Path], None], why: str
) -> None:
    done_by(folder)
    with pytest.raises(AuditError, match=why):
        await Audited(spec_of(folder), SystemClock()).audit.open()


async def test_a_key_that_is_shared_is_a_problem_of_the_configuration(folder: Path) -> None:
    key = folder / "audit.jsonl.key"
    key.write_text("ab" * 32)
    key.chmod(0o644)
    with pytest.raises(ConfigurationError) as refused:
        await Audited(spec_of(folder), SystemClock()).audit.open()
    assert "audit.key" in refused.value.problems[0] and "abab" not in refused.value.problems[0]


async def test_two_agents_never_write_one_file(folder: Path) -> None:
    async with audited(spec_of(folder)):
        with pytest.raises(AuditError, match="another agent"):
            await Audited(spec_of(folder), SystemClock()).audit.open()


# --- the head, and events ---------------------------------------------------------------------


async def test_the_head_is_kept_once_a_second_and_at_the_end(folder: Path) -> None:
    clock = JumpClock()
    spec = spec_of(folder)
    head = folder / "audit.jsonl.head"
    site = Audited(spec, clock)
    await site.audit.open()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(site.audit.run())
        await site.ask("a")
        before = head.read_bytes()
        await clock.advance(1.0)
        await eventually(lambda: head.read_bytes() != before)
        assert b'"seq":2' in head.read_bytes() and b'"is_closed":false' in head.read_bytes()
        running.cancel()
    await site.audit.close()
    assert b'"seq":3' in head.read_bytes() and b'"is_closed":true' in head.read_bytes()


async def test_changes_of_state_are_recorded_and_nothing_else(folder: Path) -> None:
    spec = spec_of(folder)
    async with audited(spec) as site:
        site.audit(SecretRead(secret="db", version="3", is_changed=True))
        site.audit(SecretRead(secret="db", version="3", is_changed=False))
        site.audit(LeaseRenewed(secret="db", ttl_seconds=3.0))
        site.audit(
            BundlePublished(bundle="app", generation=2, secrets=["db"], changed_files=["password"])
        )
    states = [each for each in records(spec) if each["event"] == "state"]
    assert [each["change"] for each in states] == [
        "secret_changed",
        "bundle_published",
        "agent_stopped",
    ]
    assert (states[0]["secret"], states[0]["version"]) == ("db", "3")


async def test_what_happens_before_the_start_is_recorded_then(folder: Path) -> None:
    spec = spec_of(folder)
    site = Audited(spec, SystemClock())
    site.audit(SecretRead(secret="db", version="3", is_changed=True))
    await site.audit.open()
    await site.audit.close()
    assert [each.get("change") for each in records(spec)] == [
        None,
        "secret_changed",
        "agent_stopped",
    ]


async def test_after_the_end_nobody_is_told_that_something_was_written(folder: Path) -> None:
    async with audited(spec_of(folder)) as site:
        pass
    answers: list[bool] = []
    site.audit.append(Access("secrets", "a"), answers.append)
    assert answers == [False]
