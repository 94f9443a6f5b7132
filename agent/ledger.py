"""The book of what is held now: per secret the current reading, why it is stale, when it is due.

Watchers write, everybody else reads immutable entries or waits for names to change. Consumers
(bundles, the child process) *hold* revisions: a revision that is neither current nor held by
anyone is ready to be retired, and its watcher is told so. A consumer whose app did not work with a
revision lets go of it and *rejects* it. What was handed out through a listener is held, too, but by
a guest, who has no say in whether a value works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any

import msgspec
from msgspec.structs import replace

from agent.core.clock import Clock
from agent.core.holds import Holds
from agent.core.secret import Reading

OnRelease = Callable[[], None]
Observer = Callable[[str], None]

REFUSED = "refused"
"""The `kind` of an entry whose newer value an app has refused: the store is well."""


class State(Enum):
    """What is known of a secret; `str` is what /status says."""

    WAITING = "waiting"
    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"

    def __str__(self) -> str:
        return self.value


class Entry(msgspec.Struct, frozen=True):
    """One secret as of now. Instants are of `Clock.now()`; `revision` is new with each change."""

    name: str
    reading: Reading | None = None
    revision: int = 0
    state: State = State.WAITING
    read_at: float | None = None
    stale_since: float | None = None
    reason: str | None = None
    kind: str | None = None
    expires_at: float | None = None
    next_at: float | None = None

    @property
    def is_usable(self) -> bool:
        """There is a value, and it has not expired."""
        return self.reading is not None and self.state is not State.EXPIRED


class Subscription:
    """Collects the names that changed since they were last taken."""

    def __init__(self, names: frozenset[str], event: asyncio.Event) -> None:
        self.names = names
        self.event = event
        self._changed: set[str] = set()

    def add(self, name: str) -> None:
        """A name that changed."""
        self._changed.add(name)
        self.event.set()

    def take(self) -> set[str]:
        """The names changed since the last call."""
        changed, self._changed = self._changed, set()
        return changed


class Ledger:
    """All entries, by name. Lives in one event loop; nothing here waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._last_revision = 0
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._holds = Holds()
        self._on_release: dict[str, set[OnRelease]] = {}
        self._former: dict[str, dict[int, float | None]] = {}
        self._rejected: dict[str, tuple[int, str]] = {}
        self._observers: set[Observer] = set()

    # --- for readers --------------------------------------------------------------------------

    def entry(self, name: str) -> Entry:
        """The entry; one that waits for its first value if there is none."""
        return self._entries.get(name) or Entry(name)

    def entries(self) -> list[Entry]:
        """All entries, by name."""
        return [self._entries[name] for name in sorted(self._entries)]

    def snapshot(self, names: Iterable[str]) -> dict[str, Entry]:
        """Entries of one moment."""
        return {name: self.entry(name) for name in names}

    def is_alive(self, name: str, revision: int) -> bool:
        """Whether this value works, as far as is known: the current one, or one that was."""
        entry = self.entry(name)
        if entry.revision == revision:
            return entry.is_usable and self._is_to_come(entry.expires_at)
        former = self._former.get(name, {})
        return revision in former and self._is_to_come(former[revision])

    def ends_at(self, name: str, revision: int) -> float | None:
        """When this value ends; None: never, or nothing is known of it."""
        entry = self.entry(name)
        if entry.revision == revision:
            return entry.expires_at
        return self._former.get(name, {}).get(revision)

    @contextmanager
    def subscribe(self, names: Iterable[str], event: asyncio.Event) -> Iterator[Subscription]:
        """While entered, `event` is set when one of `names` got a new value or lost its own."""
        subscription = Subscription(frozenset(names), event)
        for name in subscription.names:
            self._subscriptions.setdefault(name, set()).add(subscription)
        try:
            yield subscription
        finally:
            for name in subscription.names:
                self._subscriptions[name].discard(subscription)

    @contextmanager
    def observe(self, observer: Observer) -> Iterator[None]:
        """While entered, `observer(name)` is called when an entry has another value or state.

        It must not wait.
        """
        self._observers.add(observer)
        try:
            yield
        finally:
            self._observers.discard(observer)

    # --- for consumers ------------------------------------------------------------------------

    def hold(
        self, consumer: str, revisions: Mapping[str, Iterable[int]], *, is_guest: bool = False
    ) -> None:
        """`consumer` depends on these revisions by secret, and no longer on any other.

        One that was rejected, and is taken up anew, has another chance; not by a guest.
        """
        before = self._holds.of(consumer)
        after = {name: frozenset(numbers) for name, numbers in revisions.items()}
        self._holds.put(consumer, after, is_guest=is_guest)
        none = frozenset[int]()
        for name in before.keys() | after.keys():
            old, new = before.get(name, none), after.get(name, none)
            rejected = self._rejected.get(name)
            if rejected and rejected[0] in new - old and not is_guest:
                del self._rejected[name]
            if old - new:
                self._released(name)

    def release(self, consumer: str) -> None:
        """`consumer` is no more."""
        self.hold(consumer, {})
        self._holds.remove(consumer)

    def reject(self, name: str, revision: int, reason: str) -> None:
        """A consumer that has let go of this revision says that its app did not work with it.

        The watcher heeds it once only guests hold the revision. Nothing happens if it is not the
        current one any more: whoever let go of it last has retired it.
        """
        if self.entry(name).revision == revision:
            self._rejected[name] = (revision, reason)
            self._released(name)

    # --- for watchers -------------------------------------------------------------------------

    def held(self, name: str) -> frozenset[int]:
        """The revisions of a secret that consumers hold, guests among them."""
        return self._holds.held(name)

    def judged(self, name: str) -> frozenset[int]:
        """The revisions of a secret that are held by consumers who say whether they work."""
        return self._holds.held(name, by_guests=False)

    @contextmanager
    def on_release(self, name: str, callback: OnRelease) -> Iterator[None]:
        """While entered, `callback()` is called when a consumer lets go of a revision, or rejects.

        It must not wait.
        """
        callbacks = self._on_release.setdefault(name, set())
        callbacks.add(callback)
        try:
            yield
        finally:
            callbacks.discard(callback)

    def heed_rejection(self, name: str) -> str | None:
        """Why the current revision was rejected, if only guests still hold it; answered once."""
        rejected = self._rejected.get(name)
        if rejected is None or rejected[0] in self.judged(name):
            return None
        del self._rejected[name]
        return rejected[1]

    def continue_after(self, revision: int) -> None:
        """New revisions get numbers above this one: those of the run before are taken."""
        self._last_revision = max(self._last_revision, revision)

    def former(self, name: str, revision: int, ends_at: float | None) -> None:
        """A value that was replaced is kept alive; until when, as far as is known now."""
        self._former.setdefault(name, {})[revision] = ends_at
        self.continue_after(revision)

    def retired(self, name: str, revision: int) -> None:
        """A value that was replaced is kept alive no longer."""
        former = self._former.get(name, {})
        former.pop(revision, None)
        if not former:
            self._former.pop(name, None)

    def record(self, name: str, reading: Reading, expires_at: float | None) -> bool:
        """A fresh reading. True if it differs from the one held: only then is anybody told.

        The version alone does not decide: a KV entry that was deleted and made again starts at
        version 1 again.
        """
        old = self.entry(name)
        is_same = (
            old.reading is not None
            and old.state is not State.EXPIRED
            and old.reading.version == reading.version
            and old.reading.value == reading.value
        )
        self._put(
            Entry(
                name,
                reading=reading,
                revision=old.revision if is_same else self._next_revision(),
                state=State.FRESH,
                read_at=self._clock.now(),
                expires_at=expires_at,
                next_at=old.next_at,
            )
        )
        if not is_same:
            self._rejected.pop(name, None)
            self._tell(name)
        return not is_same

    def resume(
        self,
        name: str,
        reading: Reading,
        revision: int,
        *,
        read_at: float,
        expires_at: float | None,
        stale_since: float,
        reason: str,
        kind: str,
    ) -> None:
        """A value that was held before is current again, by its old number, and stale."""
        stale = State.STALE, read_at, stale_since, reason, kind
        self._put(Entry(name, reading, revision, *stale, expires_at))
        self.continue_after(revision)
        self._rejected.pop(name, None)
        self._tell(name)

    def renewed(self, name: str, reading: Reading, expires_at: float | None) -> None:
        """The same value with a new term."""
        was_expired = self.entry(name).state is State.EXPIRED
        fresh = {"state": State.FRESH, "stale_since": None, "reason": None, "kind": None}
        self._change(name, reading=reading, expires_at=expires_at, **fresh)
        if was_expired:
            self._tell(name)

    def stale(self, name: str, reason: str, kind: str, since: float | None = None) -> None:
        """No fresh proof could be had; the value, if any, stays. `since` when, if not just now."""
        old = self.entry(name)
        state = State.STALE if old.state is State.FRESH else old.state
        if old.stale_since is not None:
            since = old.stale_since
        elif since is None:
            since = self._clock.now()
        self._change(name, state=state, stale_since=since, reason=reason, kind=kind)

    def expired(self, name: str) -> None:
        """The value held is no longer worth anything."""
        self._change(name, state=State.EXPIRED)
        self._tell(name)

    def next_due(self, name: str, next_at: float | None) -> None:
        """When the watcher will act next."""
        self._change(name, next_at=next_at)

    def good_until(self, name: str, expires_at: float | None) -> None:
        """When the value is over, as far as is known now: tokens are renewed, clocks are set."""
        self._change(name, expires_at=expires_at)

    def remove(self, name: str) -> None:
        """The secret is no longer in the configuration."""
        self._entries.pop(name, None)
        self._rejected.pop(name, None)
        self._observed(name)
        self._tell(name)

    # --- inside -------------------------------------------------------------------------------

    def _next_revision(self) -> int:
        self._last_revision += 1
        return self._last_revision

    def _change(self, name: str, **changed: Any) -> None:
        self._put(replace(self.entry(name), **changed))

    def _put(self, entry: Entry) -> None:
        old = self.entry(entry.name)
        self._entries[entry.name] = entry
        if (old.revision, old.state) != (entry.revision, entry.state):
            self._observed(entry.name)

    def _observed(self, name: str) -> None:
        for observer in tuple(self._observers):
            observer(name)

    def _is_to_come(self, ends_at: float | None) -> bool:
        return ends_at is None or ends_at > self._clock.now()

    def _tell(self, name: str) -> None:
        for subscription in self._subscriptions.get(name, ()):
            subscription.add(name)

    def _released(self, name: str) -> None:
        for callback in tuple(self._on_release.get(name, ())):
            callback()
