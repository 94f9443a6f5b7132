"""The file of a local store: entries in, entries out, by one writer at a time. Blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.config.model import LocalKey
from agent.core.errors import SealedFileError
from agent.core.sealing import Scrypt, SealingKey, seal, unseal
from agent.stores import sealed_file
from agent.stores.local.entries import Entries, decode
from agent.stores.sealed_file import Signature

PURPOSE = "local store"

_Signatures = tuple[Signature | None, Signature | None]


class EntriesFile:
    """The encrypted file and the file of its key. What was decrypted is kept until one changes."""

    def __init__(self, path: Path, key: LocalKey) -> None:
        self.path = path
        self.key_path = sealed_file.key_path(key)
        self._key_spec = key
        self._key: tuple[Signature | None, SealingKey] | None = None
        self._held: tuple[_Signatures, Entries] | None = None

    def load(self) -> Entries:
        """The entries as of now, not to be changed; `SealedFileError` if they can't be had."""
        key_signature = sealed_file.signature(self.key_path)
        signatures = sealed_file.signature(self.path), key_signature
        if self._held is not None and self._held[0] == signatures and None not in signatures:
            return self._held[1]
        self._held = None
        entries, _, _, read = self._read()
        self._held = (read, key_signature), entries
        return entries

    def create(self) -> bool:
        """A file without entries; False if there is one, which has been opened as a proof."""
        with sealed_file.locked(self.path):
            if sealed_file.signature(self.path) is not None:
                self._read()
                return False
            self._write(Entries(), 1, None)
            return True

    @contextmanager
    def edit(self) -> Iterator[Entries]:
        """The entries to change; written at the end, unless that is an error."""
        with sealed_file.locked(self.path):
            entries, sequence, kdf, _ = self._read()
            yield entries
            self._write(entries, sequence + 1, kdf)

    def forget(self) -> None:
        """Keep nothing decrypted."""
        self._held = self._key = None

    def _read(self) -> tuple[Entries, int, Scrypt | None, Signature]:
        key = self._current_key()
        try:
            content, read = sealed_file.read_private(self.path, sealed_file.MAX_CONTENT_BYTES)
        except SealedFileError as error:
            if sealed_file.signature(self.path) is not None:
                raise
            reason = f"{error.reason} (`leasehold local init` makes it)"
            raise SealedFileError(error.file, reason, is_lasting=False) from None
        opened = unseal(content, key, purpose=PURPOSE, name=str(self.path))
        try:
            return decode(opened.payload), opened.sequence, opened.kdf, read
        except ValueError as error:
            raise SealedFileError(str(self.path), str(error)) from None

    def _write(self, entries: Entries, sequence: int, kdf: Scrypt | None) -> None:
        payload = entries.encode()
        if len(payload) > sealed_file.MAX_PAYLOAD_BYTES:
            limit = sealed_file.MAX_PAYLOAD_BYTES // 2**20
            raise SealedFileError(str(self.path), f"would have more than {limit} MiB; not written")
        key = self._current_key()
        content = seal(payload, key, purpose=PURPOSE, sequence=sequence, kdf=kdf)
        sealed_file.replace(self.path, content)

    def _current_key(self) -> SealingKey:
        """Read again when its file has changed, so that a passphrase is stretched once."""
        current = sealed_file.signature(self.key_path)
        if self._key is None or current is None or self._key[0] != current:
            self._key = current, sealed_file.read_key(self._key_spec)
        return self._key[1]
