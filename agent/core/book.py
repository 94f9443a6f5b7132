"""What is worth keeping of one run for the next: the sealed cache's content, as plain data.

Instants are of `Clock.now()` of the run that wrote them; `shifted` makes them the reader's. A book
is as secret as its values: nothing in it prints more than how much there is.
"""

from __future__ import annotations

import hashlib
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from agent.core.lease import Lease, Term
from agent.core.secret import Reading, Secret


class _Redacted:
    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class KeptValue(_Redacted, msgspec.Struct, frozen=True):
    """One reading. `revision` is the ledger's, `proven_at` when the store last vouched for it.

    `denied_since` is when the store first denied it, if it has not answered otherwise since.
    """

    revision: int
    fields: dict[str, Any]
    version: str
    read_at: float
    proven_at: float
    lease: Lease | None = None
    not_after: float | None = None
    read_again_after: float | None = None
    metadata: dict[str, str] = {}
    denied_since: float | None = None
    envelope: bytes = b""

    @classmethod
    def of(
        cls,
        reading: Reading,
        *,
        revision: int,
        read_at: float,
        proven_at: float,
        denied_since: float | None = None,
    ) -> Self:
        """A reading, to be kept."""
        return cls(
            revision,
            reading.value.reveal(),
            reading.version,
            read_at,
            proven_at,
            reading.lease,
            reading.not_after,
            reading.read_again_after,
            dict(reading.metadata),
            denied_since,
            reading.envelope,
        )

    def reading(self) -> Reading:
        """The reading again."""
        return Reading(
            Secret(self.fields),
            self.version,
            self.lease,
            self.not_after,
            self.read_again_after,
            self.metadata,
            self.envelope,
        )

    def shifted(self, by: float) -> Self:
        lease = self.lease
        if lease is not None:
            lease = replace(lease, term=_shifted(lease.term, by))
        denied_since = None if self.denied_since is None else self.denied_since + by
        return replace(
            self,
            lease=lease,
            read_at=self.read_at + by,
            proven_at=self.proven_at + by,
            denied_since=denied_since,
        )


class KeptSecret(_Redacted, msgspec.Struct, frozen=True):
    """One secret of the configuration; `place` tells whether the next run means the same one.

    `former`: values that were replaced and not yet retired. `is_minting`: a request that may make a
    lease was under way; nobody knows what has become of it.
    """

    store: str
    place: str
    current: KeptValue | None = None
    former: list[KeptValue] = []
    is_minting: bool = False

    def shifted(self, by: float) -> Self:
        current = None if self.current is None else self.current.shifted(by)
        return replace(self, current=current, former=[each.shifted(by) for each in self.former])


class KeptToken(_Redacted, msgspec.Struct, frozen=True):
    """A token that is alive as far as is known; `term` None: it never ends.

    `is_left`: leases that are to live on hang on it, so it is not revoked. `is_outworn`: leases
    that nobody knows may hang on it, so it is to be replaced. `secret` is empty where somebody else
    provides the token.
    """

    id: str
    secret: str
    term: Term | None
    increment: float
    is_ours: bool
    had_at: float
    is_left: bool = False
    is_outworn: bool = False

    def shifted(self, by: float) -> Self:
        term = None if self.term is None else _shifted(self.term, by)
        return replace(self, term=term, had_at=self.had_at + by)


class KeptStore(_Redacted, msgspec.Struct, frozen=True):
    """The identity at one store: tokens, oldest first; `current` is the id of that in use.

    `digest_key` is what versions are made with where the store has none of its own: with it the
    next run knows an unchanged value again.
    """

    place: str
    tokens: list[KeptToken] = []
    current: str | None = None
    digest_key: bytes = b""

    def shifted(self, by: float) -> Self:
        return replace(self, tokens=[each.shifted(by) for each in self.tokens])


class KeptBundle(_Redacted, msgspec.Struct, frozen=True):
    """The generation that the app of a bundle is known to work with, and the revisions in it."""

    generation: int
    revisions: dict[str, int]


class Book(_Redacted, msgspec.Struct, frozen=True):
    """Everything, by name.

    `departed`: values that secrets had at another place, or that are no longer in the
    configuration, not yet retired. `boot`, `now` and `wall` are of the moment of writing.
    """

    host: str
    boot: str
    now: float
    wall: float
    secrets: dict[str, KeptSecret] = {}
    stores: dict[str, KeptStore] = {}
    bundles: dict[str, KeptBundle] = {}
    departed: list[tuple[str, KeptSecret]] = []

    def shifted(self, by: float) -> Self:
        """All instants moved by so many seconds."""
        return replace(
            self,
            now=self.now + by,
            secrets={name: each.shifted(by) for name, each in self.secrets.items()},
            stores={name: each.shifted(by) for name, each in self.stores.items()},
            departed=[(name, each.shifted(by)) for name, each in self.departed],
        )

    def highest_revision(self) -> int:
        """The highest number that any value has; 0 without values."""
        values = [
            value.revision
            for secret in [*self.secrets.values(), *(each for _, each in self.departed)]
            for value in [*secret.former, *([secret.current] if secret.current else [])]
        ]
        return max(values, default=0)


def _shifted(term: Term, by: float) -> Term:
    return replace(term, began_at=term.began_at + by)


def fingerprint(*parts: object) -> str:
    """Equal for equal parts (what JSON has, and tuples), in this run and the next."""
    canonical = msgspec.json.encode(parts, order="sorted")
    return hashlib.sha256(canonical).hexdigest()
