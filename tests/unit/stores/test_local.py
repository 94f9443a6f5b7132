"""The local store: its file, written by several, and what watchers get of it."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import model
from agent.config.model import LocalKey
from agent.core.clock import Clock, SystemClock
from agent.core.errors import Invalid, Missing, Outage, SealedFileError
from agent.core.events import Emit, Event, StoreBack, StoreDown, nobody
from agent.core.lease import Lease, Term
from agent.core.sealing import Scrypt, SealingKey, seal
from agent.file_watch import FileWatch
from agent.stores.base import ReadRequest
from agent.stores.local import LocalStore, open_store
from agent.stores.local.entries import KEPT_VERSIONS, Entries, decode, split
from agent.stores.local.file import PURPOSE, EntriesFile
from agent.stores.sealed_file import make_key, replace
from tests.rig.clock import JumpClock
from tests.rig.stores import Changes, Recorder

AT = 1_780_000_000.0


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
    return model.LocalStore(file=tmp_path / "secrets.sealed", key=LocalKey(file=tmp_path / "key"))


@pytest.fixture
def file(spec: model.LocalStore) -> EntriesFile:
    assert spec.key.file is not None
    make_key(spec.key.file)
    file = EntriesFile(spec.file, spec.key)
    assert file.create()
    put(file, "app", password="one")
    return file


def put(file: EntriesFile, name: str, **fields: str | bytes) -> None:
    with file.edit() as entries:
        for field, value in fields.items():
            entries.set(name, field, value, AT)


@asynccontextmanager
async def running(store: LocalStore) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(store.run(), name="store")
        try:
            yield
        finally:
            run.cancel()


def opened(spec: model.LocalStore, clock: Clock, emit: Emit = nobody) -> LocalStore:
    return open_store("local", spec, clock=clock, files=Changes(), emit=emit)


# --- entries ----------------------------------------------------------------------------------

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)
values = st.text(max_size=40) | st.binary(max_size=40)


@given(st.lists(st.tuples(names, st.text(min_size=1, max_size=9), values), max_size=30))
def test_entries_come_back_from_json_as_they_were(rows: list[tuple[str, str, str | bytes]]) -> None:
    entries, expected = Entries(), dict[str, dict[str, str | bytes]]()
    for name, field, value in rows:
        entries.set(name, field, value, AT)
        expected.setdefault(name, {})[field] = value
    back = decode(entries.encode())
    assert {name: each.current.values() for name, each in back.entries.items()} == expected


@given(st.integers(1, 40))
def test_the_last_versions_are_kept_and_numbers_go_on(writes: int) -> None:
    entries = Entries()
    for number in range(1, writes + 1):
        entries.set("app", "count", str(number), AT)
    kept = entries.entries["app"].versions
    assert [each.number for each in kept] == list(range(1, writes + 1))[-KEPT_VERSIONS:]
    assert all(each.fields == {"count": str(each.number)} for each in kept)


def test_one_field_changes_and_the_others_stay() -> None:
    entries = Entries()
    entries.set("app", "user", "u", AT)
    entries.set("app", "password", "p", AT)
    entries.set("app", "password", "q", AT)
    assert entries.entries["app"].current.values() == {"user": "u", "password": "q"}


def test_an_entry_without_fields_is_no_entry() -> None:
    entries = Entries()
    entries.set("app", "user", "u", AT)
    entries.set("app", "password", "p", AT)
    entries.remove_field("app", "user", AT)
    assert entries.entries["app"].current.values() == {"password": "p"}
    entries.remove_field("app", "password", AT)
    assert entries.entries == {}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"entries": {"app": {"versions": []}}}',
        b'{"entries": {"app": {"versions": [{"number": "hunter2"}]}}}',
        b'{"hunter2": 1}',
    ],
)
def test_a_payload_that_is_something_else_is_refused_without_showing_it(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"holds? ") as caught:
        decode(payload)
    assert "hunter2" not in str(caught.value)


def test_no_value_is_shown_by_a_repr() -> None:
    entries = Entries()
    entries.set("app", "text", "hunter2", AT)
    entries.set("app", "bytes", b"hunter2", AT)
    shown = repr([entries, entries.entries["app"], entries.entries["app"].current])
    assert "hunter2" not in shown
    assert "hunter2" not in repr(entries.entries["app"].current.fields["bytes"])


def test_a_target_is_a_name_and_perhaps_a_field() -> None:
    assert split("app") == ("app", None)
    assert split("my-db.user name") == ("my-db", "user name")
    assert split("app.tls.key") == ("app", "tls.key")


@pytest.mark.parametrize("target", ["", ".x", "1app", "a/b.x", "app.", "app.\n", "app.\x1b[2J"])
def test_a_target_that_is_neither_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match="name"):
        split(target)


# --- the file ---------------------------------------------------------------------------------


def set_in_a_process(spec: model.LocalStore, writer: int) -> None:
    file = EntriesFile(spec.file, spec.key)
    for number in range(5):
        put(file, f"writer{writer}", **{f"field{number}": "x"})
        put(file, "shared", **{f"of{writer}": str(number)})


def test_of_writers_at_the_same_time_nothing_is_lost(
    spec: model.LocalStore, file: EntriesFile
) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        list(pool.map(set_in_a_process, [spec] * 3, range(3)))
    entries = file.load().entries
    for writer in range(3):
        assert len(entries[f"writer{writer}"].current.fields) == 5
    assert entries["shared"].current.values() == {f"of{writer}": "4" for writer in range(3)}
    assert entries["shared"].current.number == 15


def test_the_file_is_private_and_shows_nothing(spec: model.LocalStore, file: EntriesFile) -> None:
    content = spec.file.read_bytes()
    assert spec.file.stat().st_mode & 0o777 == 0o600
    assert b"password" not in content
    assert b"app" not in content
    assert content.startswith(b"leasehold-sealed/1 {")


def test_each_writing_is_counted(spec: model.LocalStore, file: EntriesFile) -> None:
    put(file, "app", password="two")
    found = re.search(rb'"sequence":(\d+)', spec.file.read_bytes())
    assert found is not None
    assert int(found[1]) == 3


def test_an_edit_that_fails_changes_nothing(spec: model.LocalStore, file: EntriesFile) -> None:
    before = spec.file.read_bytes()
    with pytest.raises(KeyError), file.edit() as entries:
        entries.set("app", "password", "two", AT)
        raise KeyError
    assert spec.file.read_bytes() == before


def test_what_would_be_too_big_is_not_written(spec: model.LocalStore, file: EntriesFile) -> None:
    before = spec.file.read_bytes()
    with pytest.raises(SealedFileError, match="more than 16 MiB"):
        put(file, "app", big="x" * (16 * 2**20))
    assert spec.file.read_bytes() == before


def test_a_file_readable_by_others_is_refused(spec: model.LocalStore, file: EntriesFile) -> None:
    spec.file.chmod(0o644)
    with pytest.raises(SealedFileError, match="mode 0644"):
        file.load()


def test_creating_again_proves_the_key_and_changes_nothing(
    spec: model.LocalStore, file: EntriesFile
) -> None:
    assert not file.create()
    assert spec.key.file is not None
    spec.key.file.unlink()
    make_key(spec.key.file)
    with pytest.raises(SealedFileError, match="wrong key"):
        file.create()


def test_a_missing_file_says_what_makes_it(spec: model.LocalStore, file: EntriesFile) -> None:
    spec.file.unlink()
    with pytest.raises(SealedFileError, match="`leasehold local init` makes it"):
        file.load()


def test_an_unchanged_file_is_decrypted_once(file: EntriesFile) -> None:
    assert file.load() is file.load()
    before = file.load()
    put(file, "app", password="two")
    assert file.load() is not before


def test_a_passphrase_opens_the_store_and_keeps_its_costs(tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.touch(0o600)
    passphrase.write_text("correct horse\n")
    spec = LocalKey(passphrase_file=passphrase)
    path = tmp_path / "secrets.sealed"
    quick = Scrypt(salt=b"s" * 32, n=2, r=1, p=1)
    key = SealingKey(b"correct horse", is_passphrase=True)
    replace(path, seal(Entries().encode(), key, purpose=PURPOSE, sequence=1, kdf=quick))
    put(EntriesFile(path, spec), "app", password="one")
    assert EntriesFile(path, spec).load().entries["app"].current.values() == {"password": "one"}
    assert b'"n":2,"r":1,"p":1' in path.read_bytes()


# --- the store --------------------------------------------------------------------------------


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
    store = open_store("local", spec, clock=SystemClock(), files=files, emit=events.append)
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


def test_the_lock_is_left_beside_the_file(spec: model.LocalStore, file: EntriesFile) -> None:
    lock = spec.file.with_name("secrets.sealed.lock")
    assert lock.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in spec.file.parent.iterdir()) == [
        "key",
        "secrets.sealed",
        "secrets.sealed.lock",
    ]
