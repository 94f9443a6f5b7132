"""The local store, as watchers see it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.config import model
from agent.core.clock import Clock, SystemClock
from agent.core.errors import Invalid, Missing, Outage
from agent.core.events import Emit, Event, StoreBack, StoreDown, nobody
from agent.core.lease import Lease, Term
from agent.file_watch import FileWatch
from agent.stores.base import ReadRequest
from agent.stores.local import LocalStore, open_store
from agent.stores.local.entries import Entries
from agent.stores.local.file import EntriesFile
from agent.stores.sealed_file import replace
from tests.rig.clock import JumpClock
from tests.rig.local_store import local_store_in, made, put
from tests.rig.stores import Changes, Recorder


class Wishes:
    """A subscriber that counts what it is told."""

    def __init__(self) -> None:
        self.refreshed, self.looked = asyncio.Event(), asyncio.Event()

    def look_again(self) -> None:
        self.looked.set()

    def refresh(self) -> None:
        self.refreshed.set()


@pytest.fixture
def patient_clock() -> JumpClock:
    """With real time before each jump for what threads hand back."""
    return JumpClock(idle_seconds=0.003)


@pytest.fixture
def spec(tmp_path: Path) -> model.LocalStore:
    return local_store_in(tmp_path)


@pytest.fixture
def file(spec: model.LocalStore) -> EntriesFile:
    return made(spec)


@asynccontextmanager
async def running(store: LocalStore) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(store.run(), name="store")
        try:
            yield
        finally:
            run.cancel()


def opened(spec: model.LocalStore, clock: Clock, emit: Emit = nobody) -> LocalStore:
    return open_store("local", spec, clock=clock, changes=Changes(), emit=emit)


async def test_a_secret_is_read_with_its_version(
    spec: model.LocalStore, file: EntriesFile, clock: JumpClock
) -> None:
    store = opened(spec, clock)
    await asyncio.to_thread(put, file, "app", password="two", blob=b"\xff\x00")
    reading = await store.read(ReadRequest("app"))
    assert reading.value.reveal() == {"password": "two", "blob": b"\xff\x00"}
    assert (reading.version, reading.lease) == ("3", None)
    assert store.is_ready
    assert store.refusal is None


async def test_a_pinned_version_stays_what_it_was(
    spec: model.LocalStore, file: EntriesFile, clock: JumpClock
) -> None:
    store = opened(spec, clock)
    await asyncio.to_thread(put, file, "app", password="two")
    reading = await store.read(ReadRequest("app", version=1))
    assert (reading.value["password"], reading.version) == ("one", "1")
    with pytest.raises(Missing, match="version 7 is not kept"):
        await store.read(ReadRequest("app", version=7))


async def test_a_name_that_is_not_there_is_missing(
    spec: model.LocalStore, file: EntriesFile, clock: JumpClock
) -> None:
    with pytest.raises(Missing):
        await opened(spec, clock).read(ReadRequest("other"))


async def test_what_the_store_can_not_do_it_refuses(
    spec: model.LocalStore, file: EntriesFile, clock: JumpClock
) -> None:
    store = opened(spec, clock)
    lease = Lease("x", Term(began_at=0, lasts=1, is_renewable=True, full=1))
    with pytest.raises(Invalid):
        await store.renew(lease)
    with pytest.raises(Invalid):
        await store.revoke(lease)
    with pytest.raises(Invalid, match="not written to"):
        await store.read(ReadRequest("app", data={}))
    store.forget(lease)
    assert store.parent(lease).is_alive


async def test_a_wrong_key_is_invalid_and_no_outage(
    spec: model.LocalStore, file: EntriesFile, clock: JumpClock
) -> None:
    assert spec.key.file is not None
    spec.key.file.write_text("f" * 64)
    events = Recorder()
    store = opened(spec, clock, events)
    with pytest.raises(Invalid, match="wrong key"):
        await store.read(ReadRequest("app"))
    assert store.is_ready
    assert not events


async def test_an_altered_file_is_invalid_and_works_again_once_it_is_mended(
    spec: model.LocalStore, file: EntriesFile, clock: JumpClock
) -> None:
    store = opened(spec, clock)
    good = spec.file.read_bytes()
    spec.file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(Invalid, match="altered or is damaged"):
        await store.read(ReadRequest("app"))
    await asyncio.to_thread(replace, spec.file, good)
    assert (await store.read(ReadRequest("app"))).version == "1"


async def test_a_file_that_is_gone_is_an_outage_which_ends_by_itself(
    spec: model.LocalStore, file: EntriesFile, patient_clock: JumpClock
) -> None:
    events, wishes = Recorder(), Wishes()
    store = opened(spec, patient_clock, events)
    unsubscribe = store.subscribe(wishes)
    away = spec.file.rename(spec.file.with_name("away"))
    async with running(store):
        for _ in range(2):
            with pytest.raises(Outage, match="leasehold local init"):
                await store.read(ReadRequest("app"))
        assert not store.is_ready
        await patient_clock.advance(300)
        assert [type(event) for event in events] == [StoreDown]
        shutil.move(away, spec.file)
        await patient_clock.run_until(wishes.looked.is_set, within=60)
        assert store.is_ready
    assert [type(event) for event in events] == [StoreDown, StoreBack]
    unsubscribe()


async def test_an_outage_is_not_met_with_a_hot_loop(
    spec: model.LocalStore, patient_clock: JumpClock
) -> None:
    store = opened(spec, patient_clock)
    tries: list[float] = []
    load = store._file.load

    def counted() -> Entries:
        tries.append(patient_clock.now())
        return load()

    store._file.load = counted  # type: ignore[method-assign]
    async with running(store):
        with pytest.raises(Outage):
            await store.read(ReadRequest("app"))
        await patient_clock.advance(3600)
    assert 60 <= len(tries) <= 400


async def test_a_changed_file_is_told_to_subscribers_and_read_anew(
    spec: model.LocalStore, file: EntriesFile
) -> None:
    events = list[Event]()
    files = FileWatch(SystemClock(), events.append, step_seconds=0.03)
    store = open_store("local", spec, clock=SystemClock(), changes=files, emit=events.append)
    wishes = Wishes()
    store.subscribe(wishes)
    async with asyncio.TaskGroup() as tasks, running(store):
        watch = tasks.create_task(files.run(), name="file watch")
        assert (await store.read(ReadRequest("app"))).version == "1"
        await asyncio.to_thread(put, file, "app", password="two")
        async with asyncio.timeout(5):
            await wishes.refreshed.wait()
        assert (await store.read(ReadRequest("app"))).value["password"] == "two"
        watch.cancel()
    assert not events


async def test_a_thousand_reads_at_once_decrypt_once(
    spec: model.LocalStore, file: EntriesFile, clock: JumpClock
) -> None:
    store = opened(spec, clock)
    async with asyncio.TaskGroup() as tasks:
        reads = [tasks.create_task(store.read(ReadRequest("app"))) for _ in range(1000)]
    entries = await asyncio.to_thread(store._file.load)
    assert {read.result().version for read in reads} == {"1"}
    assert await asyncio.to_thread(store._file.load) is entries
    await store.close()
    assert await asyncio.to_thread(store._file.load) is not entries
