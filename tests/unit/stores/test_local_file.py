"""The file of a local store: one writer at a time, whole or not at all."""

from __future__ import annotations

import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from agent.config import model
from agent.config.model import LocalKey
from agent.core.errors import SealedFileError
from agent.core.sealing import Scrypt, SealingKey, seal
from agent.stores.local.entries import Entries
from agent.stores.local.file import PURPOSE, EntriesFile
from agent.stores.sealed_file import make_key, replace
from tests.rig.local_store import AT, local_store_in, made, put


@pytest.fixture
def spec(tmp_path: Path) -> model.LocalStore:
    return local_store_in(tmp_path)


@pytest.fixture
def file(spec: model.LocalStore) -> EntriesFile:
    return made(spec)


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


def test_the_lock_is_left_beside_the_file(spec: model.LocalStore, file: EntriesFile) -> None:
    lock = spec.file.with_name("secrets.sealed.lock")
    assert lock.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in spec.file.parent.iterdir()) == [
        "key",
        "secrets.sealed",
        "secrets.sealed.lock",
    ]
