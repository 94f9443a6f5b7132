"""What the API asks of bundles; who brings them is not known here."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

import msgspec

from agent.api.http import Answer, problem


class Word(Enum):
    """What has become of what an app said of a generation."""

    TAKEN = "taken"
    WRONG_GENERATION = "wrong generation"
    NOT_ASKED = "not asked"
    """The bundle's `confirm` is not `{api: true}`."""


class BundleState(msgspec.Struct, frozen=True):
    """`secrets` are those that its files are made of; `confirmed_at` is RFC 3339."""

    generation: int
    state: str
    confirmed_at: str | None
    secrets: frozenset[str]


class Bundles(Protocol):
    """All bundles by name. Nothing here waits."""

    def state(self, name: str) -> BundleState | None:
        """None: there is none of the name."""

    def confirm(self, name: str, generation: int, error: str | None) -> Word:
        """The app's word on a generation of a bundle that there is."""


class NoBundles:
    """Where there are none."""

    def state(self, name: str) -> BundleState | None:
        return None

    def confirm(self, name: str, generation: int, error: str | None) -> Word:
        return Word.WRONG_GENERATION


def shown(name: str, bundle: BundleState) -> Answer:
    """The state of a bundle, as it is sent."""
    content = {
        "name": name,
        "generation": bundle.generation,
        "state": bundle.state,
        "confirmed_at": bundle.confirmed_at,
    }
    return Answer(200, msgspec.json.encode(content) + b"\n")


def taken(name: str, word: Word, bundle: BundleState) -> Answer:
    """What is answered to the app's word: 204, or 409 with the generation that it is about."""
    match word:
        case Word.TAKEN:
            return Answer(204)
        case Word.NOT_ASKED:
            return problem(409, f"bundle {name} does not ask its app by this API")
        case Word.WRONG_GENERATION:
            now = bundle.generation
            return problem(409, f"the generation is {now} now", generation=now)
