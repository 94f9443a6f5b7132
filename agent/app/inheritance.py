"""What one run leaves for the next, and who of the next takes it up.

A value goes to the secret that means the same place at the same store, as the same identity there.
What was had for another place is retired once nobody holds it; what hangs on an identity that is no
longer configured is left to end by itself, and that is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from msgspec.structs import replace

from agent.config.model import Configuration
from agent.core.book import Book, KeptBundle, KeptSecret, KeptStore, KeptValue
from agent.core.events import LeasesLeftBehind, LeasesNotRevoked
from agent.delivery.bundle import Bundle
from agent.stores.base import Store
from agent.watcher import Watcher
from agent.watcher.keeping import place_of

EMPTY = Book(host="", boot="", now=0.0, wall=0.0)


def gather(
    stores: Mapping[str, Store],
    watchers: Iterable[Watcher],
    leaving: Iterable[Watcher],
    bundles: Mapping[str, Bundle],
) -> Book:
    """What is worth keeping; of which host and moment it is, is for whoever writes it to say."""
    return replace(
        EMPTY,
        stores={name: store.kept() for name, store in stores.items()},
        secrets={watcher.name: watcher.kept() for watcher in watchers},
        departed=[(watcher.name, watcher.kept()) for watcher in leaving],
        bundles={name: bundle.kept() for name, bundle in bundles.items()},
    )


def leases_left(
    book: Book, stores: Mapping[str, Store], now: float, reason: str
) -> Iterator[LeasesNotRevoked]:
    """What of a book lives on, by secret."""
    for name, kept in _entries(book):
        leases = [value.lease for value in _values(kept) if value.lease is not None]
        store = stores.get(kept.store)
        ends = [each.term.ends_at for each in leases if store and store.parent(each).is_alive]
        if ends and (left := max(ends) - now) > 0:
            yield LeasesNotRevoked(secret=name, leases=len(ends), reason=reason, ends_after=left)


class Inheritance:
    """A book of the run before, sorted for a configuration and its stores."""

    def __init__(
        self, book: Book, configuration: Configuration, stores: Mapping[str, Store]
    ) -> None:
        self._book = book
        self.highest_revision = book.highest_revision()
        self._same = {
            name
            for name, kept in book.stores.items()
            if name in stores and stores[name].kept().place == kept.place
        }
        self.secrets: dict[str, KeptSecret] = {}
        self.departed: list[tuple[str, KeptSecret]] = []
        self._left: dict[str, list[KeptValue]] = {}
        for name, kept in _entries(book):
            spec = configuration.secrets.get(name)
            if kept.store not in self._same:
                self._left.setdefault(kept.store, []).extend(_values(kept))
            elif spec and kept.place == place_of(spec.store, spec) and name not in self.secrets:
                self.secrets[name] = kept
            else:
                self.departed.append((name, replace(kept, current=None, former=_values(kept))))

    def stores(self) -> Iterator[tuple[str, KeptStore, bool]]:
        """Name and identity of those that go on, and whether leases nobody knows may hang on it."""
        minting = {kept.store for _, kept in _entries(self._book) if kept.is_minting}
        for name in sorted(self._same):
            yield name, self._book.stores[name], name in minting

    def bundles(self, names: Collection[str]) -> Iterator[tuple[str, KeptBundle]]:
        """What the app of each is known to use."""
        for name in sorted(self._book.bundles.keys() & set(names)):
            yield name, self._book.bundles[name]

    def revisions(self, names: Collection[str]) -> dict[str, frozenset[int]]:
        """All that is alive of these secrets: any of it may have been handed out."""
        return {
            name: frozenset(value.revision for value in _values(self.secrets[name]))
            for name in sorted(self.secrets.keys() & set(names))
        }

    def left_behind(self, now: float) -> Iterator[LeasesLeftBehind]:
        """What nobody here can renew or revoke any more, by store."""
        for store, values in sorted(self._left.items()):
            ends = [value.lease.term.ends_at for value in values if value.lease is not None]
            ends = [end for end in ends if end > now]
            if ends:
                left = max(ends) - now
                yield LeasesLeftBehind(store=store, leases=len(ends), ends_after=left)


def _entries(book: Book) -> Iterator[tuple[str, KeptSecret]]:
    yield from book.secrets.items()
    yield from book.departed


def _values(kept: KeptSecret) -> list[KeptValue]:
    return [*kept.former, *([kept.current] if kept.current else [])]
