"""POST /refresh: fresh reads now, asked for by whoever rotated a secret at its origin.

The body is a JSON object, `{"secrets": ["database"]}`, or `{}` for all. It is answered with 202 and
the names: the reads are made when the watchers may, at most once a second for each secret, within
the store's budget.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import NamedTuple

import msgspec

from agent.telemetry.wishes import Door, Refused


class Asked(NamedTuple):
    """The secrets that will be read again; or the names that are unknown, and nothing is."""

    secrets: list[str]
    unknown: list[str]


Refresh = Callable[[Collection[str] | None], Asked]
"""Names, or None for all."""


def nobody_asked(names: Collection[str] | None) -> Asked:
    """A `Refresh` for an agent that watches nothing."""
    return Asked([], sorted(names or ()))


class RefreshWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request."""

    secrets: list[str] | None = None


class RefreshDoor(Door[RefreshWish]):
    """Passes wishes on to a `Refresh`."""

    wish = RefreshWish
    form = '{"secrets": [NAME, …]}, or {} for all'

    def __init__(self, refresh: Refresh) -> None:
        super().__init__()
        self._refresh = refresh

    async def fulfil(self, wish: RefreshWish) -> tuple[HTTPStatus, object]:
        asked = self._refresh(wish.secrets)
        if asked.unknown:
            unknown = ", ".join(asked.unknown)
            raise Refused(HTTPStatus.NOT_FOUND, f"no secret of this name: {unknown}")
        return HTTPStatus.ACCEPTED, {"asked": asked.secrets}
