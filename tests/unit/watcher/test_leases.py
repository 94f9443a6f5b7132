"""Leases: renewed, replaced in time, given back, lost."""

from __future__ import annotations

import asyncio
import itertools

from agent.core.errors import Denied, Invalid, Missing, Outage, StoreError
from agent.core.events import (
    LeaseLeft,
    LeaseLost,
    LeaseRevoked,
    LeasesNotRevoked,
    SecretExpired,
)
from tests.rig.clock import JumpClock
from tests.rig.scripted_store import Asked, ScriptedStore
from tests.unit.watcher.conftest import Watch, Watched


def moves_at_once(watched: Watched) -> None:
    """The consumer takes each value over as soon as it is told of it."""
    watched.hold(watched.entry.revision)


async def test_a_lease_is_renewed_until_its_maximum_and_replaced_while_it_lives(
    clock: JumpClock, watch: Watch
) -> None:
    """TTL 20 s, maximum 60 s, held for 150 s."""
    store = ScriptedStore(clock, ttl=20, max_ttl=60)
    async with watch(store) as watched:
        for _ in range(1500):
            assert watched.entry.is_usable and watched.lease_id in store.alive()
            moves_at_once(watched)
            await clock.advance(0.1)
        assert len(store.times("read")) in (3, 4)
        assert len(store.times("renew")) >= 6
        assert not watched.all(SecretExpired) and not watched.all(LeaseLost)
        assert len(store.alive()) == 1, "what was replaced is revoked"


async def test_a_lease_that_is_not_renewable_is_replaced_with_room(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100, is_renewable=False)
    async with watch(store, renew_at=0.8):
        await clock.advance(81)
        first, second = store.times("read")
        assert second - first == 80
        assert not store.times("renew")


async def test_headroom_moves_the_renewal_but_not_before_half(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store, headroom=1000.0, renew_at=0.9):
        await clock.advance(51)
        assert store.times("renew") == [store.times("read")[0] + 50]


async def test_renewal_point_is_configurable_vault_31505(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=1000)
    async with watch(store, renew_at=0.3) as watched:
        await clock.advance(301)
        assert len(store.times("renew")) == 1
        watched.watcher.update(watched.watcher.spec, 0.0)
        await clock.advance(301)
        assert len(store.times("renew")) == 2


async def test_a_renewed_lease_is_no_news(clock: JumpClock, watch: Watch) -> None:
    async with watch(ScriptedStore(clock, ttl=100)) as watched:
        watched.told.clear()
        await clock.advance(1000)
        assert not watched.told.is_set()
        assert watched.number == 1
        assert watched.entry.expires_at is not None and watched.entry.expires_at > clock.now()


async def test_a_lease_revoked_outside_is_noticed_at_the_renewal_and_replaced_at_once(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        store.revoke_outside(watched.lease_id)
        await clock.advance(68)
        assert store.times("renew") == store.times("read")[1:]
        assert watched.number == 2 and watched.state == "fresh"
        assert len(watched.all(LeaseLost)) == 1
        assert not store.times("revoke"), "there is nothing to give back"


async def test_a_policy_without_renewal_leads_to_replacement(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    store.fail("renew", error=Denied)
    async with watch(store) as watched:
        moves_at_once(watched)
        await clock.advance(67.5)
        assert watched.number == 2
        assert watched.entry.is_usable
        assert len(store.alive()) == 2, "the old one lives while it is held"
        moves_at_once(watched)
        await clock.settle()
        assert len(store.alive()) == 1


async def test_a_lost_lease_that_can_not_be_replaced_is_not_usable(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        store.fail("read", "renew", error=Invalid)
        await clock.advance(70)
        assert not watched.entry.is_usable
        store.fail(error=Invalid)
        await clock.advance(300)
        assert watched.entry.is_usable and watched.number == 2


async def test_an_expired_lease_is_never_usable(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        store.fail("read", "renew", error=Outage, is_store_wide=False)
        for _ in range(200):
            await clock.advance(1)
            assert watched.entry.is_usable == (watched.lease_id in store.alive())
        assert len(watched.all(SecretExpired)) == 1
        assert watched.state == "expired" and watched.entry.reason == "as scripted"


async def test_a_lease_that_ends_while_the_store_hangs_is_not_usable(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)

    def hang(asked: Asked) -> object:
        return asyncio.Event().wait()

    async with watch(store) as watched:
        store.before = hang  # type: ignore[assignment]
        await clock.advance(99)
        assert watched.entry.is_usable
        await clock.advance(2)
        assert not watched.entry.is_usable


async def test_renewals_that_fail_are_tried_again_before_the_end(
    clock: JumpClock, watch: Watch
) -> None:
    """A 500 at this path for most of what is left; the lease is saved all the same."""
    store = ScriptedStore(clock, ttl=60)
    async with watch(store) as watched:
        store.fail("renew", error=Outage, is_store_wide=False)
        await clock.advance(57)
        store.fail(error=Outage)
        await clock.advance(60)
        assert watched.number == 1 and watched.state == "fresh"
        assert not watched.all(SecretExpired)


async def test_suspended_past_the_end_it_reads_anew_at_once(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        await clock.suspend(86400)
        assert watched.number == 2
        assert store.times("renew") == [], "the old one is over"
        assert watched.lease_id in store.alive()


async def test_suspended_not_so_long_it_renews_at_once(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        await clock.suspend(3000)
        assert len(store.times("renew")) == 1
        assert watched.number == 1


# --- values that were replaced ----------------------------------------------------------------


async def test_the_old_lease_is_revoked_only_when_no_consumer_holds_it(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        first, old = watched.entry.revision, watched.lease_id
        watched.hold(first)
        watched.watcher.refresh()
        await clock.advance(2)
        assert watched.number == 2
        await clock.advance(1000)
        assert old in store.alive(), "renewed for as long as it is held"
        watched.hold(first, watched.entry.revision)
        await clock.settle()
        assert old in store.alive()
        watched.hold(watched.entry.revision)
        await clock.settle()
        assert old not in store.alive()
        assert len(watched.all(LeaseRevoked)) == 1


async def test_revoke_never_leaves_the_old_lease_and_tells_the_store(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store, revoke="never") as watched:
        old = watched.lease_id
        watched.watcher.refresh()
        await clock.advance(2)
        assert store.left == [old]
        assert old in store.alive() and not store.times("revoke")


async def test_a_revocation_that_fails_is_tried_again_without_a_hurry(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=1000)
    async with watch(store) as watched:
        store.fail("revoke", error=Outage, is_store_wide=False)
        old = watched.lease_id
        watched.watcher.refresh()
        await clock.advance(60)
        assert 5 <= len(store.times("revoke")) <= 7
        store.fail(error=Outage)
        await clock.advance(11)
        assert old not in store.alive()


async def test_a_revocation_that_hangs_delays_nothing(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=100)

    def hang(asked: Asked) -> object:
        return asyncio.Event().wait() if asked.what == "revoke" else None

    store.before = hang  # type: ignore[assignment]
    async with watch(store) as watched:
        watched.watcher.refresh()
        await clock.advance(500)
        assert watched.lease_id in store.alive()
        assert watched.state == "fresh"


async def test_a_former_lease_that_can_not_be_renewed_lives_out_its_time(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100, max_ttl=150)
    async with watch(store) as watched:
        old = watched.lease_id
        watched.hold(watched.entry.revision)
        watched.watcher.refresh()
        await clock.advance(149)
        assert old in store.alive()
        await clock.advance(500)
        assert old not in store.alive()
        assert len([each for each in store.asked if each.of == old]) < 5


async def test_leave_keeps_what_is_held_and_returns_when_it_is_let_go(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        old = watched.lease_id
        watched.hold(watched.entry.revision)
    leaving = asyncio.get_running_loop().create_task(watched.watcher.leave())
    await clock.advance(1000)
    assert not leaving.done() and old in store.alive()
    assert len(store.times("read")) == 1
    watched.ledger.release("bundle")
    await clock.settle()
    assert leaving.done() and old not in store.alive()


async def test_leave_does_not_wait_for_a_store_that_is_gone_longer_than_the_lease(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        pass
    store.goes_down()
    leaving = asyncio.get_running_loop().create_task(watched.watcher.leave())
    await clock.advance(99)
    assert not leaving.done()
    await clock.advance(2)
    assert leaving.done() and not store.times("revoke")


async def test_give_up_retires_everything_now(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        watched.hold(watched.entry.revision)
        watched.watcher.refresh()
        await clock.advance(2)
        assert len(store.alive()) == 2
    await watched.watcher.give_up()
    assert store.alive() == []


async def test_give_up_revokes_former_values_first(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        old = watched.lease_id
        watched.hold(watched.entry.revision)
        watched.watcher.refresh()
        await clock.advance(2)
        new = watched.lease_id
    assert await watched.watcher.give_up() == []
    assert [each.of for each in store.asked if each.what == "revoke"] == [old, new]
    kept = watched.watcher.kept()
    assert kept.current is None and kept.former == []


async def test_give_up_with_a_store_that_is_gone_says_what_is_left_and_keeps_it(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        watched.hold(watched.entry.revision)
        watched.watcher.refresh()
        await clock.advance(2)
        before = watched.watcher.kept()
    store.fail("revoke", error=Outage)
    async with asyncio.timeout(5):
        left = await watched.watcher.give_up()
    assert [lease.id for lease in left] == ["token-1/1", "token-1/2"]
    after = watched.watcher.kept()
    assert after.current is not None and before.current is not None
    assert after.current.lease == before.current.lease, "current as current"
    assert [each.lease for each in after.former] == [each.lease for each in before.former]
    (told,) = watched.all(LeasesNotRevoked)
    assert (told.leases, told.reason) == (2, "as scripted") and 0 < told.ends_after <= 100


async def test_give_up_keeps_what_has_no_lease_for_the_next_run(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    async with watch(store) as watched:
        watched.hold(watched.entry.revision)
        watched.watcher.refresh()
        await clock.advance(2)
    assert await watched.watcher.give_up() == []
    kept = watched.watcher.kept()
    assert kept.current is not None and kept.current.version == "2"
    assert [each.version for each in kept.former] == ["1"], "its bundle has not moved"


async def test_give_up_leaves_what_is_never_revoked_to_the_next_run(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store, revoke="never") as watched:
        lease = watched.lease_id
    assert await watched.watcher.give_up() == [] and store.left == [lease]
    kept = watched.watcher.kept()
    assert kept.current is not None and not watched.all(LeasesNotRevoked)


async def test_give_up_after_a_denied_revocation_leaves_it_to_the_token(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        pass
    store.fail("revoke", error=Denied)
    assert await watched.watcher.give_up() == []
    assert watched.watcher.kept().current is None and len(watched.all(LeaseLeft)) == 1


# --- what leases hang on ----------------------------------------------------------------------


async def test_a_dead_token_means_that_its_leases_are_replaced_at_once(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        await clock.advance(100)
        store.loses_token()
        await clock.settle()
        assert watched.number == 2 and watched.lease_id.startswith("token-2/")
        assert store.times("renew") == store.times("revoke") == []
        assert not watched.all(SecretExpired), "it is replaced, which the store has said"


async def test_a_dead_token_leaves_values_without_a_lease_alone(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    async with watch(store) as watched:
        store.loses_token()
        await clock.advance(100)
        assert len(store.times("read")) == 1 and watched.entry.is_usable


async def test_while_nobody_is_logged_in_a_dead_lease_is_not_usable(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        await clock.advance(100)
        store.goes_down("not logged in")
        store.loses_token()
        await clock.settle()
        assert not watched.entry.is_usable
        store.comes_back()
        await clock.settle()
        assert watched.entry.is_usable and watched.number == 2


async def test_an_ending_token_moves_its_leases_one_by_one(clock: JumpClock, watch: Watch) -> None:
    """Each secret has a lot of its own, which spreads them over the time that is left."""
    moved: list[float] = []
    for draw in (0.0, 0.25, 0.5, 0.75):
        store = ScriptedStore(clock, ttl=50_000)
        async with watch(store, draw=draw) as watched:
            since, old = clock.now(), watched.lease_id
            watched.hold(watched.entry.revision)
            store.token_nears_end(since + 1000)
            await clock.advance(999)
            moved.append(store.times("read")[1] - since)
            assert watched.lease_id.startswith("token-2/")
            assert old in store.alive(), "still held"
            assert len(store.times("read")) == 2
    assert moved == [1.0, 167.5, 335.0, 502.5]


async def test_short_leases_of_an_ending_token_are_renewed_until_their_turn(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=20)
    async with watch(store, draw=0.5) as watched:
        store.token_nears_end(clock.now() + 1000)
        for _ in range(900):
            await clock.advance(1)
            assert watched.lease_id in store.alive()
        assert len(store.times("read")) == 2


async def test_two_owners_never_renew_one_lease_vault_19684(clock: JumpClock, watch: Watch) -> None:
    """A value that is current, and was former to a consumer, is asked for by its watcher only."""
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        watched.hold(watched.entry.revision)
        await clock.advance(1000)
        renewals = store.times("renew")
        assert min(b - a for a, b in itertools.pairwise(renewals)) > 60


async def test_static_interval_does_not_reread_dynamic_secrets_vault_29507(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store, refresh_every=10.0):
        await clock.advance(2000)
        assert len(store.times("read")) == 1


async def test_renewal_at_the_maximum_that_is_refused_outright(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)

    def refuse(asked: Asked) -> StoreError | None:
        if asked.what != "renew":
            return None
        return Missing("renew", "store", asked.of, "no more time")

    store.before = refuse
    async with watch(store) as watched:
        await clock.advance(1000)
        assert len(store.times("read")) == 1 + 14, "one replacement at each renewal point"
        assert watched.entry.is_usable


async def test_a_wish_that_is_denied_holds_up_no_renewal(clock: JumpClock, watch: Watch) -> None:
    """Who asks for a fresh credential in vain keeps the one that works."""
    store = ScriptedStore(clock, ttl=60)
    async with watch(store) as watched:
        lease = watched.lease_id

        def denied(asked: Asked) -> Denied | None:
            return Denied("read", "store", "path/app", "denied") if asked.what == "read" else None

        store.before = denied
        for _ in range(60):
            watched.watcher.refresh()
            await clock.advance(60)
            assert store.alive() == [lease]
        wished = len(store.times("read"))
        await clock.advance(3600)
        assert store.alive() == [lease]
        assert len(store.times("read")) - wished < 50
        store.before = lambda asked: None
        await clock.advance(301)
        assert watched.lease_id != lease
