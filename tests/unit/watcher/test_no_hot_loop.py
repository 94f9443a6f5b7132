"""Whatever a store answers, in whatever order, it is never asked in a loop, and no watcher dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.errors import (
    Denied,
    Invalid,
    Missing,
    NotLoggedIn,
    Outage,
    RateLimited,
    Sealed,
    StoreError,
)
from agent.core.lease import FLOOR_SECONDS
from tests.rig.clock import JumpClock
from tests.rig.scripted_store import Asked, ScriptedStore
from tests.unit.watcher.conftest import Watched

KINDS = (None, None, Denied, Missing, Invalid, NotLoggedIn, Sealed, "path", "limited")
MOST_IN_A_SECOND = 5
"""Half a second's floor for leases of a second, and the read after a renewal that was refused."""


@dataclass(frozen=True)
class Script:
    """Outcomes in turn, over and over; what happens at the side, by second."""

    outcomes: tuple[object, ...]
    ttl: float | None
    max_ttl: float
    is_renewable: bool
    surprises: dict[int, str]
    draw: float


scripts = st.builds(
    Script,
    outcomes=st.lists(st.sampled_from(KINDS), min_size=1, max_size=12).map(tuple),
    ttl=st.one_of(st.none(), st.sampled_from([0.001, 1.0, 2.0, 20.0, 3600.0])),
    max_ttl=st.sampled_from([0.5, 1.0, 60.0, float("inf")]),
    is_renewable=st.booleans(),
    surprises=st.dictionaries(
        st.integers(1, 110),
        st.sampled_from(
            [
                "token lost",
                "token ends",
                "lease revoked",
                "refresh",
                "down",
                "back",
                "hold both",
                "reject",
                "reject",
            ]
        ),
        max_size=10,
    ),
    draw=st.floats(0, 1, exclude_max=True),
)


def error(kind: object, asked: Asked) -> StoreError | None:
    where = (asked.what, "store", asked.of, "as scripted")
    if kind == "path":
        return Outage(*where, is_store_wide=False)
    if kind == "limited":
        return RateLimited(*where, retry_after=0.0)
    return None if kind is None else kind(*where)  # type: ignore[operator]


def surprise(what: str, store: ScriptedStore, watched: Watched) -> None:
    match what:
        case "token lost":
            store.loses_token()
        case "token ends":
            store.token_nears_end(store.clock.now() + 30)
        case "lease revoked":
            for lease_id in store.alive():
                store.revoke_outside(lease_id)
        case "refresh":
            watched.watcher.refresh()
        case "hold both":
            watched.hold(*watched.ledger.held("app"), watched.entry.revision)
        case "reject":
            refused = watched.entry.revision
            watched.hold(*watched.ledger.held("app") - {refused})
            watched.ledger.reject("app", refused, "not confirmed")
        case "down":
            store.goes_down()
        case "back":
            store.comes_back()


async def play(script: Script) -> ScriptedStore:
    clock = JumpClock(rounds=8)
    store = ScriptedStore(
        clock, ttl=script.ttl, max_ttl=script.max_ttl, is_renewable=script.is_renewable
    )

    def before(asked: Asked) -> StoreError | None:
        return error(script.outcomes[len(store.asked) % len(script.outcomes)], asked)

    store.before = before
    watched = Watched(clock, store, draw=script.draw, headroom=0.0, max_stale=30.0)
    running = asyncio.get_running_loop().create_task(watched.watcher.run())
    for second in range(120):
        await clock.advance(1)
        if second in script.surprises:
            surprise(script.surprises[second], store, watched)
        if watched.entry.is_usable and watched.entry.reading and watched.entry.reading.lease:
            lease = watched.entry.reading.lease
            assert lease.term.ends_at >= clock.now(), "an expired lease is never usable"
        if second % 7 == 0:
            watched.hold(watched.entry.revision)
    assert not running.done(), f"the watcher died: {running}"
    running.cancel()
    await asyncio.wait([running])
    return store


@settings(max_examples=150)
@given(scripts)
def test_renewal_hot_loop_whatever_a_store_answers_vault_20645_vault_25712(script: Script) -> None:
    store = asyncio.run(play(script))
    asked = [each for each in store.asked if each.what != "revoke"]
    by_second = Counter(int(each.at) for each in asked)
    assert max(by_second.values(), default=0) <= MOST_IN_A_SECOND * (2 if script.ttl else 1)
    if script.ttl is None or script.ttl > 2 * FLOOR_SECONDS:
        assert len(asked) <= 130, "once a second at most, for two minutes"
