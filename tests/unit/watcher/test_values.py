"""Values without a lease: read again in time, kept through an outage, told of when they change."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from agent.core.errors import Denied, Invalid, Missing, NotLoggedIn, Outage, StoreError
from agent.core.events import SecretExpired, SecretRead, SecretStale
from agent.core.secret import Reading, Secret
from tests.rig.clock import JumpClock
from tests.rig.scripted_store import Asked, ScriptedStore
from tests.unit.watcher.conftest import Watch

SAME = Reading(Secret({"number": 7}), "7")


def certificate(clock: JumpClock, serial: str, *, lasts: float) -> Reading:
    return Reading(Secret({"number": serial}), serial, not_after=clock.wall() + lasts)


async def test_an_unchanged_version_tells_nobody(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    store.fixed = SAME
    async with watch(store) as watched:
        revision = watched.entry.revision
        watched.told.clear()
        await clock.advance(3600)
        assert len(store.times("read")) == 13
        assert not watched.told.is_set()
        assert watched.entry.revision == revision
        assert [event.is_changed for event in watched.all(SecretRead)] == [True] + 12 * [False]


async def test_deleted_and_made_again_is_a_change_though_the_version_is_the_same(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    store.fixed = Reading(Secret({"number": 1}), "1")
    async with watch(store) as watched:
        store.fixed = Reading(Secret({"number": 2}), "1")
        watched.told.clear()
        await clock.advance(301)
        assert watched.told.is_set() and watched.number == 2


async def test_no_interval_per_secret_vault_10920(clock: JumpClock, watch: Watch) -> None:
    quick, slow = ScriptedStore(clock), ScriptedStore(clock)
    async with watch(quick, refresh_every=10.0), watch(slow, refresh_every=600.0):
        await clock.advance(1000)
    assert len(quick.times("read")) == 101
    assert len(slow.times("read")) == 2


async def test_jitter_reads_earlier_never_later(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    async with watch(store, refresh_every=100.0, draw=0.5):
        await clock.advance(96)
        first, second = store.times("read")
        assert second - first == 95


async def test_a_hint_of_the_store_is_followed(clock: JumpClock, watch: Watch) -> None:
    """A static role says when it rotates next."""
    store = ScriptedStore(clock)
    store.fixed = Reading(Secret({"number": 1}), "1", read_again_after=31.0)
    async with watch(store):
        await clock.advance(32)
        first, second = store.times("read")
        assert second - first == 31


async def test_refresh_reads_now_but_not_twice_within_the_floor(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    async with watch(store) as watched:
        await clock.advance(10)
        for _ in range(10):
            watched.watcher.refresh()
            await clock.settle()
        assert len(store.times("read")) == 2
        await clock.advance(1)
        assert len(store.times("read")) == 3


async def test_an_outage_keeps_the_last_good_value_stale_with_a_reason(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    async with watch(store) as watched:
        store.goes_down("can't connect: Connection refused")
        await clock.advance(299)
        assert watched.state == "fresh"
        await clock.advance(2)
        assert watched.state == "stale" and watched.entry.is_usable
        assert watched.entry.reason == "can't connect: Connection refused"
        assert watched.entry.kind == "outage"
        since = watched.entry.stale_since
        await clock.advance(3600)
        assert watched.entry.stale_since == since
        assert len(store.times("read")) == 1, "nothing is asked of a store that can't be had"
        store.comes_back()
        await clock.settle()
        assert watched.state == "fresh" and watched.entry.reason is None


async def test_max_stale_ends_it_and_the_next_value_begins_anew(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    store.fixed = SAME
    async with watch(store, max_stale=1000.0) as watched:
        store.goes_down()
        await clock.advance(999)
        assert watched.entry.is_usable
        watched.told.clear()
        await clock.advance(2)
        assert watched.state == "expired" and not watched.entry.is_usable
        assert watched.told.is_set()
        assert len(watched.all(SecretExpired)) == 1
        watched.told.clear()
        store.comes_back()
        await clock.settle()
        assert watched.entry.is_usable and watched.told.is_set(), "the same value, usable again"


async def test_max_stale_counts_from_the_last_proof_not_from_the_reading(
    clock: JumpClock, watch: Watch
) -> None:
    """A lease that was renewed for days is not thrown away by a minute's outage."""
    store = ScriptedStore(clock, ttl=600)
    async with watch(store, max_stale=3600.0) as watched:
        await clock.advance(7200)
        store.fail("renew", error=Outage, is_store_wide=False)
        await clock.advance(150)
        assert watched.state == "stale" and watched.entry.is_usable


async def test_a_first_value_that_can_not_be_had_is_waited_for_with_a_reason(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    store.trouble = NotLoggedIn("log in", "store", "approle", "not logged in yet")
    async with watch(store) as watched:
        assert watched.state == "waiting"
        assert watched.entry.reason == "not logged in yet"
        store.comes_back()
        await clock.settle()
        assert watched.state == "fresh"


@pytest.mark.parametrize("refusal", [Denied, Missing, Invalid])
async def test_a_refused_path_backs_off_to_five_minutes(
    clock: JumpClock, watch: Watch, refusal: type[StoreError]
) -> None:
    store = ScriptedStore(clock)
    store.fail("read", error=refusal)
    async with watch(store) as watched:
        await clock.advance(3600)
        asked = store.times("read")
        assert len(asked) < 60
        assert all(event.retry_after <= 300 for event in watched.all(SecretStale))
        gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
        assert max(gaps) > 60 and min(gaps) >= 1
        store.fail(error=refusal)
        await clock.advance(301)
        assert watched.entry.is_usable


@pytest.mark.parametrize("refusal", [Denied, Missing])
async def test_a_value_that_the_store_denies_ends_after_max_denied(
    clock: JumpClock, watch: Watch, refusal: type[StoreError]
) -> None:
    store = ScriptedStore(clock)
    async with watch(store, max_denied=1800.0) as watched:
        store.fail("read", error=refusal)
        await clock.advance(300 + 1799)
        assert watched.entry.is_usable and watched.entry.kind == refusal.kind
        await clock.advance(2)
        assert not watched.entry.is_usable
        assert len(watched.all(SecretExpired)) == 1


async def test_an_answer_in_between_ends_the_denial(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    store.fixed = SAME
    async with watch(store, max_denied=1000.0) as watched:
        for _ in range(5):
            store.fail("read", error=Denied)
            await clock.advance(900)
            assert watched.entry.kind == "denied"
            store.fail(error=Denied)
            watched.watcher.refresh()
            await clock.advance(2)
            assert watched.state == "fresh"


async def test_an_outage_is_no_denial_but_does_not_undo_one(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    async with watch(store, max_denied=1000.0, max_stale=86_400.0) as watched:
        store.fail("read", error=Outage, is_store_wide=False)
        await clock.advance(5000)
        assert watched.entry.is_usable
        store.fail("read", error=Denied)
        watched.watcher.refresh()
        await clock.advance(2)
        store.goes_down()
        await clock.advance(990)
        assert watched.entry.is_usable
        await clock.advance(20)
        assert not watched.entry.is_usable


async def test_a_lease_is_good_for_its_time_whatever_is_denied(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=10_000, is_renewable=False)
    async with watch(store, max_denied=10.0) as watched:
        store.fail("read", "renew", error=Denied)
        await clock.advance(9990)
        assert watched.entry.kind == "denied" and watched.entry.is_usable


async def test_max_stale_of_a_certificate_counts_from_when_it_could_not_be_replaced(
    clock: JumpClock, watch: Watch
) -> None:
    """For most of its time nobody has asked: it vouched for itself."""
    store = ScriptedStore(clock)
    store.fixed = certificate(clock, "1", lasts=100_000)
    async with watch(store, max_stale=3600.0) as watched:
        store.goes_down()
        await clock.advance(67_000 + 3500)
        assert watched.state == "stale" and watched.entry.is_usable
        await clock.advance(200)
        assert not watched.entry.is_usable


async def test_a_passing_failure_is_retried_soon_after(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    async with watch(store) as watched:
        store.fail("read", error=Outage, is_store_wide=False)
        await clock.advance(310)
        store.fail(error=Outage)
        await clock.advance(60)
        assert watched.state == "fresh"


async def test_a_request_that_never_ends_can_be_cancelled(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)

    def hang(asked: Asked) -> object:
        return asyncio.Event().wait()

    store.before = hang  # type: ignore[assignment]
    async with watch(store) as watched:
        assert watched.state == "waiting"


# --- certificates: by the wall clock ----------------------------------------------------------


async def test_a_certificate_is_replaced_in_time_and_not_read_in_between(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    store.fixed = certificate(clock, "1", lasts=100_000)
    async with watch(store, renew_at=0.7) as watched:
        await clock.advance(69_000)
        assert len(store.times("read")) == 1
        store.fixed = certificate(clock, "2", lasts=100_000)
        await clock.advance(1100)
        assert watched.number == "2" and len(store.times("read")) == 2


async def test_a_wall_clock_set_forward_past_the_end_replaces_it_within_a_minute(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    store.fixed = certificate(clock, "1", lasts=86_400)
    async with watch(store) as watched:
        await clock.advance(100)
        clock.jump_wall(86_400)
        store.fixed = certificate(clock, "2", lasts=86_400)
        await clock.advance(60)
        assert watched.number == "2"


async def test_a_wall_clock_set_back_replaces_nothing(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    store.fixed = certificate(clock, "1", lasts=86_400)
    async with watch(store) as watched:
        clock.jump_wall(-86_400 * 365)
        await clock.advance(86_400 * 2)
        assert watched.entry.is_usable and len(store.times("read")) == 1


async def test_a_wall_clock_that_is_wrong_makes_no_loop_of_issues(
    clock: JumpClock, watch: Watch
) -> None:
    """Every certificate is over at its arrival: it is used all the same, and read as others are."""
    store = ScriptedStore(clock)
    store.fixed = certificate(clock, "1", lasts=-3600)
    async with watch(store) as watched:
        await clock.advance(3600)
        assert len(store.times("read")) == 13
        assert watched.entry.is_usable


async def test_suspended_past_the_end_of_a_certificate(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    store.fixed = certificate(clock, "1", lasts=3600)
    async with watch(store) as watched:
        await clock.settle()
        store.fixed = certificate(clock, "2", lasts=86_400 * 3)
        await clock.suspend(86_400)
        assert watched.number == "2"


async def test_a_wish_during_a_read_is_a_read_of_its_own(clock: JumpClock, watch: Watch) -> None:
    """The answer on its way may be from before the value was changed."""
    store = ScriptedStore(clock)

    async def slowly(asked: Asked) -> None:
        await clock.sleep(0.5)

    store.before = slowly
    async with watch(store) as watched:
        await clock.advance(0.1)
        assert len(store.times("read")) == 1
        watched.watcher.refresh()
        await clock.advance(60)
        assert [at - store.times("read")[0] for at in store.times("read")] == [0, 1]
        assert watched.number == 2


async def test_wishes_are_granted_once_a_second(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    async with watch(store) as watched:
        for _ in range(100):
            watched.watcher.refresh()
            await clock.advance(0.05)
        await clock.advance(60)
    assert len(store.times("read")) == 6


async def test_a_wish_that_could_not_be_granted_is_not_forgotten(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        await clock.advance(10)
        store.before = lambda asked: Denied("read", "store", "path/app", "denied (403)")
        watched.watcher.refresh()
        await clock.advance(0.1)
        store.before = lambda asked: None
        await clock.advance(600)
        assert watched.number == 2
