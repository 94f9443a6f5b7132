"""The `cache` section: the last known good, encrypted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from agent.config.kinds import Model, Seconds, described
from agent.config.store_model import LocalKey


class CacheKey(LocalKey, frozen=True):
    """The key of the cache: exactly one of `file` and `passphrase_file`."""

    previous: Annotated[
        LocalKey | None, described("The key before: it still opens, and seals no more.")
    ] = None


class Cache(Model, frozen=True):
    """The last known good of each secret, encrypted, for a start while the store is down."""

    file: Annotated[Path, described("The encrypted file, in a directory that only we write to.")]
    key: Annotated[CacheKey, described("What it is encrypted with.")]
    max_age: Annotated[
        Seconds, Meta(gt=0, description="A file that was written longer ago is not used.")
    ] = 86400.0
    head: Annotated[
        Path | None,
        described("The last writing's number, which tells an older copy; FILE.head when absent."),
    ] = None
