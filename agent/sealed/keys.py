"""The keys of a cache: one that seals, and one before it that still opens."""

from __future__ import annotations

from agent.config.model import CacheKey
from agent.core import sealing
from agent.core.errors import ConfigurationError, SealedFileError, WrongKey
from agent.core.sealing import Opened, SealingKey, new_scrypt
from agent.stores.sealed_file import read_key


class Keys:
    """Seals with `key`; opens with it or `previous`. Of a passphrase the slow step is done once."""

    def __init__(self, key: SealingKey, previous: SealingKey | None = None) -> None:
        self._key, self._previous = key, previous
        self._kdf = new_scrypt() if key.is_passphrase else None

    def seal(self, payload: bytes, *, purpose: str, sequence: int) -> bytes:
        return sealing.seal(payload, self._key, purpose=purpose, sequence=sequence, kdf=self._kdf)

    def unseal(self, content: bytes, *, purpose: str, name: str) -> Opened:
        """What was sealed with one of the two; SealedFileError about `name`."""
        try:
            opened = sealing.unseal(content, self._key, purpose=purpose, name=name)
        except WrongKey:
            if self._previous is None:
                raise
            return self._unseal_with_previous(content, purpose, name)
        self._kdf = opened.kdf
        return opened

    def _unseal_with_previous(self, content: bytes, purpose: str, name: str) -> Opened:
        assert self._previous is not None  # noqa: S101  # asked by the only caller
        try:
            return sealing.unseal(content, self._previous, purpose=purpose, name=name)
        except WrongKey:
            reason = "neither the key nor the previous one opens it (or its first line was altered)"
            raise WrongKey(name, reason) from None


def read_keys(spec: CacheKey) -> Keys:
    """From their files; ConfigurationError for one that can't be used. Blocks."""
    try:
        key = read_key(spec)
    except SealedFileError as error:
        raise ConfigurationError([f"cache.key: {error}"]) from None
    if spec.previous is None:
        return Keys(key)
    try:
        return Keys(key, read_key(spec.previous))
    except SealedFileError as error:
        raise ConfigurationError([f"cache.key.previous: {error}"]) from None
