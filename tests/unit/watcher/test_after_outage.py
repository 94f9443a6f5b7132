"""An outage is over: what was missed is made up for, one secret now and one then."""

from __future__ import annotations

import pytest

from agent.core.errors import NotLoggedIn
from agent.core.secret import Reading, Secret
from agent.watcher import holding
from tests.rig.clock import JumpClock
from tests.rig.scripted_store import ScriptedStore
from tests.unit.watcher.conftest import Watch


@pytest.fixture(autouse=True)
def lot(monkeypatch: pytest.MonkeyPatch) -> float:
    """The one that is drawn after each absence."""
    monkeypatch.setattr(holding, "random", lambda: 0.5)
    return 0.5


async def away(clock: JumpClock, store: ScriptedStore, seconds: float) -> None:
    """The store can't be had for that long; whoever reckons with it is told."""
    store.goes_down()
    store._subscribers.look_again()
    await clock.advance(seconds)
    store.comes_back()
    await clock.settle()


async def test_a_read_that_was_missed_has_its_turn(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    async with watch(store, refresh_every=300.0) as watched:
        await away(clock, store, 600)
        back_at = clock.now()
        assert watched.state == "stale"
        await clock.advance(100)
        assert store.times("read")[-1] - back_at == pytest.approx((180 - 3) / 2)
        assert watched.state == "fresh"


async def test_after_a_moment_it_is_read_at_once(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    async with watch(store, refresh_every=300.0):
        await clock.advance(299)
        await away(clock, store, 3)
        assert store.times("read")[-1] == clock.now()


async def test_who_wishes_for_a_value_does_not_wait(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    async with watch(store, refresh_every=300.0) as watched:
        await away(clock, store, 600)
        watched.watcher.refresh()
        await clock.settle()
        assert store.times("read")[-1] == clock.now()


async def test_a_lease_that_has_died_is_replaced_at_once(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=300)
    async with watch(store):
        await away(clock, store, 600)
        assert store.times("read")[-1] == clock.now()


async def test_a_lease_is_renewed_while_it_lives(clock: JumpClock, watch: Watch) -> None:
    """Due at 670 s, with 100 s left: within 25 s."""
    store = ScriptedStore(clock, ttl=1000)
    async with watch(store) as watched:
        await clock.advance(100)
        await away(clock, store, 800)
        back_at, lease_id = clock.now(), watched.lease_id
        await clock.advance(30)
        assert store.times("renew")[-1] - back_at == pytest.approx(12.5)
        assert watched.lease_id == lease_id and len(store.times("read")) == 1


async def test_a_value_that_may_not_grow_older_comes_first(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    async with watch(store, refresh_every=300.0, max_stale=640.0) as watched:
        await away(clock, store, 600)
        back_at = clock.now()
        await clock.advance(30)
        assert store.times("read")[-1] - back_at == pytest.approx(40 / 4 / 2)
        assert watched.state == "fresh"


async def test_a_rotation_meanwhile_is_read_at_once(clock: JumpClock, watch: Watch) -> None:
    """A static role's password has been another one since."""
    store = ScriptedStore(clock)
    store.fixed = Reading(Secret({"number": 1}), "1", read_again_after=100.0)
    async with watch(store, refresh_every=300.0):
        await away(clock, store, 600)
        assert store.times("read")[-1] == clock.now()


async def test_a_log_in_that_was_refused_is_no_outage(clock: JumpClock, watch: Watch) -> None:
    """Somebody has mended just this agent's credential."""
    store = ScriptedStore(clock)
    async with watch(store, refresh_every=300.0):
        store.trouble = NotLoggedIn("log in", "store", "", "refused")
        store._subscribers.look_again()
        await clock.advance(600)
        store.comes_back()
        await clock.settle()
        assert store.times("read")[-1] == clock.now()


async def test_an_outage_that_comes_again_is_the_same(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    async with watch(store, refresh_every=300.0):
        await away(clock, store, 600)
        await away(clock, store, 10)
        back_at = clock.now()
        await clock.advance(100)
        assert store.times("read")[-1] - back_at == pytest.approx((180 - 3) / 2)
