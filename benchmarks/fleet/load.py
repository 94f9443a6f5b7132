"""What each agent keeps, whoever wrote it: the mix of twenty secrets, and whether it is whole."""

from __future__ import annotations

from enum import Enum

import msgspec


class Kind(Enum):
    """How a secret is kept fresh."""

    KV = "kv"
    STATIC_ROLE = "static role"
    LEASE = "lease"
    CERTIFICATE = "certificate"


KINDS = tuple(Kind)

MIX = {Kind.KV: 15, Kind.STATIC_ROLE: 1, Kind.LEASE: 3, Kind.CERTIFICATE: 1}
"""Of twenty: files of configuration and API keys mostly, a few databases, one certificate."""

REFRESH_EVERY = 300.0
TOKEN_TTL = 3600.0


class Terms(msgspec.Struct, frozen=True):
    """What the vault promises, in seconds."""

    token: float = TOKEN_TTL
    lease: float = 3600.0
    certificate: float = 86_400.0
    rotation: float = 86_400.0


class Wanted:
    """Who waits to be whole again: `seconds` from `begin` until nobody does, None till then."""

    def __init__(self) -> None:
        self.missing = 0
        self.seconds: float | None = None
        self.halfway: float | None = None
        self._began_at = 0.0
        self._half = 0

    def begin(self, now: float, missing: int) -> None:
        """From now on, `missing` secrets are wanted."""
        self._began_at, self.missing, self._half = now, missing, missing // 2
        self.seconds = self.halfway = None

    def had(self, now: float) -> None:
        """One more is as it should be."""
        self.missing -= 1
        if self.missing == self._half:
            self.halfway = now - self._began_at
        if self.missing == 0:
            self.seconds = now - self._began_at


class Origin:
    """Whence static roles come: all of them are rotated at `rotates_at`, and say how long till."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.rotates_at = terms.rotation

    def left(self, now: float) -> float:
        """Whole seconds until the next rotation, as the vault says them."""
        while self.rotates_at <= now:
            self.rotates_at += self.terms.rotation
        return float(int(self.rotates_at - now))
