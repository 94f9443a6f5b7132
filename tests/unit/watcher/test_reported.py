"""An app that reads a value from a door says that it does not work: proven or replaced, once."""

from __future__ import annotations

from agent.core.events import LeaseRevoked
from agent.core.secret import Reading, Secret
from agent.watcher.refusal import FIRST_PAUSE, LONGEST_PAUSE
from tests.rig.clock import JumpClock
from tests.rig.scripted_store import ScriptedStore
from tests.unit.watcher.conftest import Watch, Watched


def version_of(watched: Watched) -> str:
    assert watched.entry.reading is not None
    return watched.entry.reading.version


async def test_what_has_a_lease_is_replaced_before_it_is_retired(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        first, lease = watched.entry.revision, watched.lease_id
        watched.hold(first)
        await clock.advance(10)
        assert watched.watcher.refused(version_of(watched))
        await clock.advance(2)
        assert watched.entry.revision != first
        assert lease in store.alive(), "a bundle still holds it"
        watched.hold(watched.entry.revision)
        await clock.settle()
        assert lease not in store.alive() and watched.all(LeaseRevoked)


async def test_of_one_version_only_the_first_word_counts(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    store.fixed = Reading(Secret({"number": 7}), "7")
    async with watch(store, refresh_every=86400.0) as watched:
        await clock.advance(10)
        assert watched.watcher.refused("7")
        assert not watched.watcher.refused("7")
        await clock.advance(1000)
        assert not watched.watcher.refused("7")
        await clock.advance(1000)
        assert len(store.times("read")) == 2


async def test_a_word_on_another_version_is_no_news(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    store.fixed = Reading(Secret({"number": 7}), "7")
    async with watch(store, refresh_every=86400.0) as watched:
        assert not watched.watcher.refused("6")
        await clock.advance(1000)
        assert len(store.times("read")) == 1


async def test_an_app_that_works_with_no_value_is_no_hot_loop(
    clock: JumpClock, watch: Watch
) -> None:
    """It refuses each new credential as soon as it has it, for an hour."""
    store = ScriptedStore(clock, ttl=86400)
    async with watch(store) as watched:
        began_at = clock.now()
        for _ in range(3600):
            watched.watcher.refused(version_of(watched))
            watched.hold(watched.entry.revision)
            await clock.advance(1)
        pauses = [b - a for a, b in zip(store.times("read"), store.times("read")[1:], strict=False)]
        assert 3 < len(pauses) < 200, "made anew, but seldom"
        assert max(pauses) <= LONGEST_PAUSE + FIRST_PAUSE
        assert clock.now() - began_at >= 3600


async def test_after_a_long_time_the_first_word_is_heeded_at_once(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=86400)
    async with watch(store) as watched:
        for _ in range(8):
            watched.watcher.refused(version_of(watched))
            await clock.advance(LONGEST_PAUSE)
        await clock.advance(LONGEST_PAUSE * 2)
        before = watched.entry.revision
        assert watched.watcher.refused(version_of(watched))
        await clock.advance(2)
        assert watched.entry.revision != before
