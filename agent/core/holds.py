"""Who depends on which values: revisions by secret, for each consumer."""

from __future__ import annotations

from collections.abc import Mapping

Revisions = Mapping[str, frozenset[int]]


class Holds:
    """Consumers by name. A *guest* depends on values, but never says whether they work."""

    def __init__(self) -> None:
        self._by_consumer: dict[str, Revisions] = {}
        self._consumers: dict[str, set[str]] = {}
        self._guests: set[str] = set()

    def of(self, consumer: str) -> Revisions:
        """What it holds; nothing, if it is not known."""
        return self._by_consumer.get(consumer, {})

    def put(self, consumer: str, revisions: Revisions, *, is_guest: bool) -> None:
        """It holds these and no others."""
        for name in self.of(consumer).keys() - revisions.keys():
            self._consumers[name].discard(consumer)
        for name in revisions:
            self._consumers.setdefault(name, set()).add(consumer)
        self._by_consumer[consumer] = revisions
        if is_guest:
            self._guests.add(consumer)

    def remove(self, consumer: str) -> None:
        """It is no more."""
        self.put(consumer, {}, is_guest=False)
        del self._by_consumer[consumer]
        self._guests.discard(consumer)

    def held(self, name: str, *, by_guests: bool = True) -> frozenset[int]:
        """The revisions of a secret that somebody holds; without `by_guests`, not only guests."""
        consumers = self._consumers.get(name, set())
        if not by_guests:
            consumers = consumers - self._guests
        return frozenset().union(
            *(self._by_consumer[each].get(name, frozenset()) for each in consumers)
        )
