"""A cache on the disk, and books to put into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.config.model import Cache, CacheKey, LocalKey
from agent.core.book import Book, KeptBundle, KeptSecret, KeptStore, KeptToken, KeptValue
from agent.core.lease import Lease, Term
from agent.sealed.file import SealedBook
from agent.sealed.host import Host

NOW, WALL = 5000.0, 1_764_003_127.0
HOST = Host("host-a", "boot-1")
VALUE = "correct-horse-battery"


def key_file(directory: Path, name: str = "key", fill: str = "a") -> Path:
    """A key of one's own; the same `fill` is the same key."""
    path = directory / name
    if not path.exists():
        path.write_text(fill * 64)
        path.chmod(0o600)
    return path


def cache(
    directory: Path,
    *,
    key: Path | None = None,
    previous: Path | None = None,
    max_age: float = 86400.0,
    head: Path | None = None,
) -> Cache:
    """The section for `directory/cache`."""
    before = None if previous is None else LocalKey(file=previous)
    chosen = CacheKey(file=key or key_file(directory), previous=before)
    return Cache(file=directory / "cache", key=chosen, max_age=max_age, head=head)


def opened(directory: Path, *, host: Host = HOST, **options: Any) -> SealedBook:
    """Open, with the lock held."""
    file = SealedBook(cache(directory, **options), host=host)
    file.open()
    return file


def book(value: str = VALUE, *, now: float = NOW, wall: float = WALL) -> Book:
    """One leased secret with a former value, its store's token, and a bundle that uses it."""

    def kept(revision: int) -> KeptValue:
        lease = Lease(f"db/{revision}", Term(now - 60, 3600.0, True, 3600.0), "accessor")
        fields = {"username": "app", "password": f"{value}-{revision}"}
        return KeptValue(revision, fields, f"v{revision}", now - 60, now - 1, lease)

    token = KeptToken(
        "accessor", f"{value}-token", Term(now - 90, 7200.0, True, 7200.0), 7200, True, now
    )
    return Book(
        host="",
        boot="",
        now=now,
        wall=wall,
        secrets={"database": KeptSecret("vault", "place", kept(7), [kept(6)], is_minting=True)},
        stores={"vault": KeptStore("place", [token], "accessor")},
        bundles={"app": KeptBundle(3, {"database": 7})},
    )
