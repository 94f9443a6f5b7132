"""A local store on a real disk, with one entry in it."""

from __future__ import annotations

from pathlib import Path

from agent.config.model import LocalKey, LocalStore
from agent.stores.local.file import EntriesFile
from agent.stores.sealed_file import make_key

AT = 1_780_000_000.0


def local_store_in(folder: Path) -> LocalStore:
    """Its section of a configuration; nothing is made yet."""
    return LocalStore(file=folder / "secrets.sealed", key=LocalKey(file=folder / "key"))


def made(spec: LocalStore) -> EntriesFile:
    """Key and file; `app` has the password `one`."""
    assert spec.key.file is not None
    make_key(spec.key.file)
    file = EntriesFile(spec.file, spec.key)
    assert file.create()
    put(file, "app", password="one")
    return file


def put(file: EntriesFile, name: str, **fields: str | bytes) -> None:
    """One writing, with a version for each field."""
    with file.edit() as entries:
        for field, value in fields.items():
            entries.set(name, field, value, AT)
