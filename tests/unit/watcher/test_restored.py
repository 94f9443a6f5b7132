"""What one run has kept and the next takes up: served stale, proven quietly, never past its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.core.book import KeptSecret
from agent.core.errors import Denied, Invalid, Missing, NotLoggedIn, Outage, StoreError
from agent.core.events import LeaseLost, SecretRead, SecretRestored
from agent.core.secret import Reading, Secret
from agent.stores.base import Parent
from tests.rig.clock import JumpClock
from tests.rig.scripted_store import Asked, ScriptedStore
from tests.unit.watcher.conftest import Watch, Watched


async def left_by(watch: Watch, store: ScriptedStore, **spec: Any) -> KeptSecret:
    """A run that has read its value and is gone, by SIGKILL."""
    async with watch(store, **spec) as watched:
        kept = watched.watcher.kept()
    store.asked.clear()
    return kept


@asynccontextmanager
async def next_run(
    watch: Watch, store: ScriptedStore, kept: KeptSecret, **options: Any
) -> AsyncIterator[Watched]:
    """Its bundle goes on with the value that was current."""
    holding = [] if kept.current is None else [kept.current.revision]
    async with watch(store, kept=kept, holding=holding, **options) as watched:
        yield watched


def value(number: int) -> Reading:
    return Reading(Secret({"number": number}), str(number))


async def test_it_is_served_stale_while_the_store_is_down_and_proven_quietly_when_it_is_back(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    store.fixed = value(7)
    kept = await left_by(watch, store)
    store.goes_down()
    read_at = clock.now()
    await clock.advance(500)
    async with next_run(watch, store, kept) as watched:
        entry = watched.entry
        assert entry.is_usable and watched.state == "stale" and watched.number == 7
        assert entry.stale_since == entry.read_at == read_at
        assert kept.current is not None and entry.revision == kept.current.revision
        await clock.advance(500)
        assert watched.entry.is_usable and watched.entry.stale_since == read_at
        watched.told.clear()
        store.comes_back()
        await clock.settle()
        assert watched.state == "fresh" and watched.entry.revision == entry.revision
        assert not watched.told.is_set(), "nothing changed, nobody is told"
        assert [each.is_changed for each in watched.all(SecretRead)] == [False]
        assert len(watched.all(SecretRestored)) == 1


async def test_before_anybody_has_looked_it_says_where_it_comes_from(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    kept = await left_by(watch, store)
    watched = Watched(clock, store)
    watched.watcher.restore(kept)
    assert watched.entry.kind == "cached"
    assert watched.entry.reason == "from the sealed cache, not proven yet"


async def test_a_changed_value_is_told(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    store.fixed = value(7)
    kept = await left_by(watch, store)
    store.fixed = value(8)
    async with next_run(watch, store, kept) as watched:
        assert watched.number == 8 and watched.told.is_set()
        assert kept.current is not None and watched.entry.revision > kept.current.revision
        assert watched.ledger.is_alive("app", kept.current.revision), "held until it has moved"


async def test_a_renewable_lease_is_renewed_and_not_minted_again(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    kept = await left_by(watch, store)
    await clock.advance(600)
    async with next_run(watch, store, kept) as watched:
        assert [each.what for each in store.asked] == ["renew"]
        assert watched.state == "fresh" and watched.number == 1
        assert store.adopted == [watched.lease_id]
        watched.told.clear()
        await clock.advance(20_000)
        assert not store.times("read") and not watched.told.is_set()
        assert store.alive() == [watched.lease_id]


async def test_a_lease_that_is_not_renewable_is_proven_by_the_store_being_there(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=1000, is_renewable=False)
    kept = await left_by(watch, store)
    store.goes_down()
    async with next_run(watch, store, kept) as watched:
        await clock.advance(100)
        assert watched.state == "stale" and watched.entry.is_usable
        store.comes_back()
        await clock.settle()
        assert watched.state == "fresh" and store.asked == []
        await clock.advance(600)
        assert watched.number == 2, "replaced in its time"


async def test_a_certificate_is_proven_by_the_store_being_there(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    store.fixed = Reading(Secret({"number": 1}), "1", not_after=clock.wall() + 10_000)
    kept = await left_by(watch, store, data={"common_name": "app"})
    async with next_run(watch, store, kept, data={"common_name": "app"}) as watched:
        assert watched.state == "fresh" and store.asked == []
        await clock.advance(6000)
        assert store.asked == []


async def test_what_is_made_anew_by_a_write_is_not_asked_for_a_proof(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    kept = await left_by(watch, store, data={"format": "raw"})
    async with next_run(watch, store, kept, data={"format": "raw"}) as watched:
        assert watched.state == "fresh" and store.asked == []
        await clock.advance(301)
        assert len(store.times("read")) == 1


async def test_the_wall_clock_is_set_past_a_certificate_meanwhile(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    store.fixed = Reading(Secret({"number": 1}), "1", not_after=clock.wall() + 10_000)
    kept = await left_by(watch, store)
    clock.jump_wall(20_000)
    store.goes_down()
    async with next_run(watch, store, kept) as watched:
        assert watched.state == "waiting" and watched.entry.reading is None
        store.fixed = value(2)
        store.comes_back()
        await clock.settle()
        assert watched.number == 2


async def test_an_expired_lease_is_never_served(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=100)
    kept = await left_by(watch, store)
    await clock.advance(100)
    store.goes_down()
    async with next_run(watch, store, kept) as watched:
        assert watched.state == "waiting" and watched.entry.reading is None
        assert store.adopted == []
        assert watched.watcher.kept().current is None


async def test_a_lease_that_ends_during_the_outage_is_not_usable(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    kept = await left_by(watch, store)
    store.goes_down()
    async with next_run(watch, store, kept) as watched:
        await clock.advance(99)
        assert watched.entry.is_usable
        await clock.advance(2)
        assert not watched.entry.is_usable


@pytest.mark.parametrize("ttl", [None, 86_400.0])
async def test_max_stale_passed_while_nobody_ran(
    clock: JumpClock, watch: Watch, ttl: float | None
) -> None:
    store = ScriptedStore(clock, ttl=ttl)
    kept = await left_by(watch, store, max_stale=1000.0)
    await clock.advance(1001)
    store.goes_down()
    async with watch(store, kept=kept, max_stale=1000.0) as watched:
        assert watched.entry.reading is None
        store.comes_back()
        await clock.settle()
        assert watched.number == 2
        assert len(store.times("revoke")) == (0 if ttl is None else 1), "it is given back"


async def test_max_stale_runs_from_the_last_proof(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    kept = await left_by(watch, store, max_stale=1000.0)
    await clock.advance(600)
    store.goes_down()
    async with next_run(watch, store, kept, max_stale=1000.0) as watched:
        await clock.advance(399)
        assert watched.entry.is_usable
        await clock.advance(2)
        assert not watched.entry.is_usable


async def test_a_lease_that_was_fresh_when_the_run_ended_is_not_called_old(
    clock: JumpClock, watch: Watch
) -> None:
    """It has vouched for itself for longer than `max_stale`."""
    store = ScriptedStore(clock, ttl=100_000, is_renewable=False)
    async with watch(store, max_stale=1000.0) as watched:
        await clock.advance(50_000)
        kept = watched.watcher.kept()
    store.goes_down()
    async with next_run(watch, store, kept, max_stale=1000.0) as watched:
        await clock.advance(999)
        assert watched.entry.is_usable and watched.state == "stale"


@pytest.mark.parametrize("refusal", [Denied, Missing])
async def test_a_store_that_denies_it_ends_it_as_configured(
    clock: JumpClock, watch: Watch, refusal: type[StoreError]
) -> None:
    store = ScriptedStore(clock)
    kept = await left_by(watch, store)
    store.fail("read", error=refusal)
    async with next_run(watch, store, kept, max_denied=600.0) as watched:
        await clock.advance(500)
        assert watched.entry.is_usable and watched.entry.kind == refusal.kind
        again = watched.watcher.kept()
    async with next_run(watch, store, again, max_denied=600.0) as watched:
        await clock.advance(99)
        assert watched.entry.is_usable
        await clock.advance(2)
        assert not watched.entry.is_usable, "a restart gives it no more time"


async def test_a_lease_whose_renewal_is_denied_has_its_time(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=1000)
    kept = await left_by(watch, store)
    store.fail("renew", error=Denied)
    async with next_run(watch, store, kept) as watched:
        assert watched.state == "fresh" and watched.number == 1
        assert not watched.all(LeaseLost) and not store.times("read")
        await clock.advance(671)
        assert watched.number == 2


async def test_a_lease_that_is_gone_is_replaced_at_once(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=1000)
    kept = await left_by(watch, store)
    store.fail("renew", error=Invalid)
    async with next_run(watch, store, kept) as watched:
        assert watched.number == 2 and watched.state == "fresh"
        assert len(watched.all(LeaseLost)) == 1


async def test_a_token_that_turns_out_dead_means_a_new_value(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=1000)
    kept = await left_by(watch, store)
    store.trouble = NotLoggedIn("log in", "store", "approle", "not logged in yet")
    async with next_run(watch, store, kept) as watched:
        assert watched.entry.is_usable
        store.loses_token()
        assert not watched.entry.is_usable
        store.comes_back()
        await clock.settle()
        assert watched.number == 2 and not store.times("renew")


async def test_a_token_known_to_be_dead(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=1000)
    async with watch(store) as watched:
        watched.hold(watched.entry.revision)
        watched.watcher.refresh()
        await clock.advance(2)
        kept = watched.watcher.kept()
    assert len(kept.former) == 1
    store.parents["token-1"] = Parent(is_alive=False)
    store.next_token()
    store.goes_down()
    async with next_run(watch, store, kept) as watched:
        assert watched.entry.reading is None
        assert not watched.ledger.is_alive("app", kept.former[0].revision)
        again = watched.watcher.kept()
        assert again.current is None and again.former == []
        assert store.adopted == []


async def test_a_token_with_a_successor_moves_its_values_one_by_one(
    clock: JumpClock, watch: Watch
) -> None:
    """The run before was killed while it minted: what hangs on its token is to end."""
    store = ScriptedStore(clock, ttl=50_000)
    kept = await left_by(watch, store)
    store.token_nears_end(clock.now() + 1000)
    async with next_run(watch, store, kept, draw=0.5) as watched:
        assert watched.state == "fresh" and watched.number == 1
        await clock.advance(400)
        assert watched.number == 2 and watched.lease_id.startswith("token-2/")
        assert len(store.alive()) == 2, "the old one is still held"


async def test_former_values_go_on_being_kept_and_retired(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=1000)
    async with watch(store) as watched:
        old = watched.entry.revision
        watched.hold(old)
        watched.watcher.refresh()
        await clock.advance(2)
        kept = watched.watcher.kept()
    assert kept.current is not None and [each.revision for each in kept.former] == [old]
    async with watch(store, kept=kept, holding=[old]) as watched:
        assert watched.ledger.is_alive("app", old)
        await clock.advance(5000)
        assert len(store.alive()) == 2, "renewed for whoever holds it"
        watched.ledger.reject("app", watched.entry.revision, "not confirmed")
        assert watched.entry.revision == old, "and fit to be put back"
        await clock.settle()
        assert len(store.alive()) == 1


async def test_former_values_that_nobody_holds_are_retired(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=1000)
    async with watch(store) as watched:
        watched.hold(watched.entry.revision)
        watched.watcher.refresh()
        await clock.advance(2)
        kept = watched.watcher.kept()
    async with next_run(watch, store, kept) as watched:
        await clock.settle()
        assert store.alive() == [watched.lease_id] and watched.number == 2


async def test_the_value_of_another_place_is_kept_for_who_holds_it_and_never_current(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=1000)
    kept = await left_by(watch, store, version=1)
    async with next_run(watch, store, kept, version=2) as watched:
        assert watched.number == 2 and len(store.alive()) == 2
        assert kept.current is not None
        old, new = kept.current.revision, watched.entry.revision
        watched.hold(old, new)
        watched.reject(new, keeping=old)
        assert watched.entry.revision == new, "it is not this secret's"
        watched.hold(new)
        await clock.settle()
        assert len(store.alive()) == 1


async def test_places(clock: JumpClock) -> None:
    store = ScriptedStore(clock)
    one = Watched(clock, store, data={"a": 1, "b": [2, {"c": None}]})
    same = Watched(clock, store, data={"b": [2, {"c": None}], "a": 1}, refresh_every=17.0)
    other = Watched(clock, store, data={"a": 1, "b": [2, {"c": 3}]})
    assert one.watcher.place == same.watcher.place != other.watcher.place


async def test_new_values_get_numbers_after_the_old_ones(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    kept = await left_by(watch, store)
    watched = Watched(clock, store)
    watched.ledger.continue_after(41)
    watched.watcher.restore(kept)
    assert kept.current is not None and watched.entry.revision == kept.current.revision
    assert watched.ledger.record("other", value(1), None)
    assert watched.ledger.entry("other").revision == 42


async def test_an_outage_of_the_path_backs_off_and_asks_for_no_new_value(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=1000)
    kept = await left_by(watch, store)
    store.fail("renew", error=Outage, is_store_wide=False)
    async with next_run(watch, store, kept) as watched:
        await clock.advance(300)
        assert watched.entry.is_usable and watched.state == "stale"
        assert not store.times("read") and len(store.times("renew")) < 100
        store.fail(error=Outage)
        await clock.advance(61)
        assert watched.state == "fresh" and watched.number == 1


async def test_a_wish_is_granted_after_the_proof(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=1000)
    kept = await left_by(watch, store)
    async with next_run(watch, store, kept) as watched:
        watched.watcher.refresh()
        await clock.advance(2)
        assert [each.what for each in store.asked][:2] == ["renew", "read"]
        assert watched.number == 2


# --- before something is made -----------------------------------------------------------------


class Disk:
    """What a kill would leave: the last thing sealed."""

    def __init__(self) -> None:
        self.watched: Watched | None = None
        self.sealed: list[KeptSecret] = []

    async def seal(self) -> None:
        assert self.watched is not None
        self.sealed.append(self.watched.watcher.kept())


async def test_what_is_known_is_sealed_before_a_lease_may_be_made(
    clock: JumpClock, watch: Watch
) -> None:
    store, disk = ScriptedStore(clock, ttl=100), Disk()
    sealed_at_each_read: list[int] = []

    def before(asked: Asked) -> None:
        if asked.what == "read":
            sealed_at_each_read.append(len(disk.sealed))

    store.before = before
    disk.watched = watched = Watched(clock, store, seal=disk.seal)
    async with running(watched):
        assert disk.sealed[-1].is_minting and disk.sealed[-1].current is None
        assert not watched.watcher.kept().is_minting, "the answer is there"
        watched.watcher.refresh()
        await clock.advance(2)
        minting = disk.sealed[1]
        assert minting.is_minting and minting.current and minting.current.version == "1"
        assert sealed_at_each_read == [1, 2]
        store.fail("read", error=Outage, is_store_wide=False)
        watched.watcher.refresh()
        await clock.advance(2)
        assert not watched.watcher.kept().is_minting, "nothing is under way"
        store.fail(error=Outage)
        await clock.advance(70)
        sealed, renewals = len(disk.sealed), len(store.times("renew"))
        await clock.advance(1000)
        assert len(store.times("renew")) - renewals > 5
        assert len(disk.sealed) == sealed, "a renewal makes nothing"


async def test_what_took_its_place_is_sealed_before_a_lease_is_revoked(
    clock: JumpClock, watch: Watch
) -> None:
    """Killed after the revocation, the next run must not take the dead value for the current."""
    store, disk = ScriptedStore(clock, ttl=100), Disk()
    sealed_at_revocation: list[KeptSecret] = []

    def before(asked: Asked) -> None:
        if asked.what == "revoke":
            sealed_at_revocation.append(disk.sealed[-1])

    store.before = before
    disk.watched = watched = Watched(clock, store, seal=disk.seal)
    async with running(watched):
        watched.watcher.refresh()
        await clock.advance(2)
        [sealed] = sealed_at_revocation
        assert sealed.current and sealed.current.version == "2" and not sealed.is_minting
        assert [each.version for each in sealed.former] == ["1"]


async def test_a_value_that_has_no_lease_needs_no_seal(clock: JumpClock, watch: Watch) -> None:
    store, disk = ScriptedStore(clock), Disk()
    disk.watched = watched = Watched(clock, store, seal=disk.seal)
    async with running(watched):
        await clock.advance(3000)
        assert len(store.times("read")) == 11
        assert len(disk.sealed) == 1, "the first time nobody could know"


async def test_a_write_needs_one_each_time(clock: JumpClock, watch: Watch) -> None:
    store, disk = ScriptedStore(clock), Disk()
    disk.watched = watched = Watched(clock, store, seal=disk.seal, data={"format": "raw"})
    async with running(watched):
        await clock.advance(3000)
        assert len(store.times("read")) == len(disk.sealed) == 11


async def test_ended_in_the_middle_of_a_read_that_may_make_a_lease(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)

    async def slowly(asked: Asked) -> None:
        await clock.sleep(60)

    store.before = slowly
    async with watch(store) as watched:
        await clock.advance(1)
    assert watched.watcher.kept().is_minting


@asynccontextmanager
async def running(watched: Watched) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(watched.watcher.run())
    try:
        await watched.clock.settle()
        yield
    finally:
        was_done = task.done()
        task.cancel()
        await asyncio.wait([task])
        assert not was_done, f"the watcher came to an end: {task}"
