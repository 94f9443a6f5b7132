"""A value that an app did not work with: the one before is put back, another tried by and by."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from agent.core.errors import Denied, Outage
from agent.core.events import LeaseRevoked, SecretExpired, SecretRefused
from agent.core.secret import Reading, Secret
from tests.rig.clock import JumpClock
from tests.rig.scripted_store import Asked, ScriptedStore
from tests.unit.watcher.conftest import Watch, Watched


async def rotates(watched: Watched) -> tuple[int, int]:
    """A new value is out, and the bundle is about to move: it holds both."""
    old = watched.entry.revision
    watched.hold(old)
    watched.watcher.refresh()
    await watched.clock.advance(1.5)
    new = watched.entry.revision
    assert new != old
    watched.hold(old, new)
    return old, new


async def test_the_value_before_is_current_again_and_the_refused_one_revoked(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        good = watched.lease_id
        old, new = await rotates(watched)
        bad = watched.lease_id
        watched.told.clear()
        watched.reject(new, keeping=old)
        entry = watched.entry
        assert entry.revision == old and watched.lease_id == good and watched.told.is_set()
        assert watched.state == "stale" and entry.is_usable and entry.kind == "refused"
        assert entry.reason == "version 2 was refused: not confirmed"
        assert entry.stale_since == clock.now()
        await clock.settle()
        assert store.alive() == [good] and bad not in store.alive()
        assert [(each.version, each.restored) for each in watched.all(SecretRefused)] == [
            ("2", "1")
        ]
        assert len(watched.all(LeaseRevoked)) == 1


async def test_another_one_is_fetched_after_a_pause_and_not_before(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        old, new = await rotates(watched)
        watched.reject(new, keeping=old)
        (told,) = watched.all(SecretRefused)
        reads = len(store.times("read"))
        await clock.advance(told.retry_after - 0.01)
        assert len(store.times("read")) == reads
        await clock.advance(1.1)
        assert len(store.times("read")) == reads + 1
        assert watched.number == 3 and watched.state == "fresh" and watched.entry.reason is None


async def test_pauses_grow_until_a_value_is_proven(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=86_400)
    async with watch(store) as watched:
        old, new = await rotates(watched)
        for _ in range(12):
            watched.reject(new, keeping=old)
            await clock.run_until(lambda: watched.entry.revision != old, within=301)
            new = watched.entry.revision
            watched.hold(old, new)
            assert len(store.alive()) == 2, "the proven one, and one on trial"
        pauses = [each.retry_after for each in watched.all(SecretRefused)]
        assert max(pauses) > 30 and len(pauses) == 12
        watched.hold(new)  # proven
        await clock.settle()
        assert len(store.alive()) == 1
        old, new = await rotates(watched)
        watched.reject(new, keeping=old)
        assert watched.all(SecretRefused)[-1].retry_after <= 5.0, "a new story"


async def test_attempts_come_before_the_end_of_what_was_put_back(
    clock: JumpClock, watch: Watch
) -> None:
    """It can't be renewed and was replaced at two thirds: a third is left for all attempts."""
    store = ScriptedStore(clock, ttl=300, is_renewable=False)
    async with watch(store) as watched:
        old = watched.entry.revision
        watched.hold(old)
        end = watched.entry.expires_at
        assert end is not None
        attempts = 0
        while clock.now() < end - 10:
            if (new := watched.entry.revision) != old:
                attempts += 1
                watched.hold(old, new)
                await clock.advance(1)
                left = end - clock.now()
                watched.reject(new, keeping=old)
                assert watched.entry.is_usable
                assert watched.all(SecretRefused)[-1].retry_after <= max(left / 4, 1.0)
            await clock.advance(1)
        assert attempts >= 4
        assert len(store.times("read")) == 1 + attempts or watched.entry.revision != old
        assert len(store.times("renew")) == 0


async def test_what_was_put_back_is_renewed_and_stays_stale(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        old, new = await rotates(watched)
        watched.reject(new, keeping=old)
        store.fail("read", error=Denied)
        since = watched.entry.stale_since
        for _ in range(100):
            await clock.advance(10)
            assert watched.entry.is_usable and watched.lease_id in store.alive()
            assert watched.state == "stale" and watched.entry.stale_since == since
        assert len(store.times("renew")) >= 10
        assert len(store.times("read")) < 40, "one backoff for all failures"


async def test_nothing_happens_while_another_bundle_holds_it(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        old, new = await rotates(watched)
        watched.ledger.hold("other", {"app": {old, new}})
        watched.reject(new, keeping=old)
        await clock.advance(600)
        assert watched.entry.revision == new and watched.state == "fresh"
        assert len(store.alive()) == 2
        watched.ledger.hold("other", {"app": {old}})
        assert watched.entry.revision == old and watched.entry.kind == "refused"
        await clock.settle()
        assert len(store.alive()) == 1
        watched.ledger.reject("app", new, "not confirmed either")
        await clock.settle()
        assert len(watched.all(SecretRefused)) == 1, "it is gone already"


async def test_another_bundle_proves_it_and_it_stays(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        old, new = await rotates(watched)
        watched.ledger.hold("other", {"app": {old, new}})
        watched.reject(new, keeping=old)
        watched.ledger.hold("other", {"app": {new}})
        watched.hold(old, new)  # it tries again, and succeeds
        watched.hold(new)
        watched.ledger.release("other")
        watched.ledger.release("bundle")
        await clock.settle()
        assert watched.entry.revision == new and not watched.all(SecretRefused)


async def test_without_one_to_go_back_to_it_stays_until_another_takes_its_place(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        first = watched.entry.revision
        watched.hold(first)
        watched.hold()
        watched.ledger.reject("app", first, "not confirmed")
        assert watched.entry.revision == first and watched.entry.kind == "refused"
        assert watched.entry.is_usable and watched.all(SecretRefused)[0].restored is None
        await clock.advance(6.1)
        assert watched.number == 2 and watched.state == "fresh"
        assert len(store.alive()) == 1, "the refused one is revoked now that nobody needs it"


async def test_the_one_before_has_ended_meanwhile(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        old, _ = await rotates(watched)
        store.revoke_outside("token-1/1")
        store.fail("renew", error=Denied)
        await clock.advance(3600)
        assert not watched.ledger.is_alive("app", old)
        watched.hold(old, watched.entry.revision)
        watched.reject(current := watched.entry.revision, keeping=old)
        assert watched.entry.revision == current and watched.entry.is_usable


async def test_a_token_lost_in_between_takes_both_and_a_new_one_is_had_at_once(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        old, new = await rotates(watched)
        watched.reject(new, keeping=old)
        store.loses_token()
        await clock.advance(1)
        assert watched.number == 3 and watched.state == "fresh"
        assert watched.lease_id in store.alive()


async def test_a_token_lost_right_before_leaves_nothing_to_put_back(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        old, new = await rotates(watched)
        store.goes_down("not logged in")
        store.loses_token()
        watched.reject(new, keeping=old)
        await clock.advance(1)
        assert not watched.entry.is_usable and watched.entry.revision == new
        store.comes_back()
        await clock.settle()
        assert watched.number == 3 and watched.entry.is_usable


async def test_refresh_overrides_the_pause(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        old, _ = await rotates(watched)
        for _ in range(6):
            watched.reject(watched.entry.revision, keeping=old)
            watched.watcher.refresh()
            await clock.advance(1.1)
            assert watched.entry.revision != old
            watched.hold(old, watched.entry.revision)


async def test_a_wish_from_before_the_refusal_does_not(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        old, new = await rotates(watched)
        watched.hold(old, new)
        for _ in range(3):
            watched.watcher.refresh()
            watched.reject(watched.entry.revision, keeping=old)
            pause = watched.all(SecretRefused)[-1].retry_after
            reads = len(store.times("read"))
            await clock.advance(pause - 0.05)
            assert len(store.times("read")) == reads
            await clock.advance(1.1)
            watched.hold(old, watched.entry.revision)


async def test_a_refused_lease_that_can_not_be_revoked_is_kept_and_tried_again(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        good = watched.lease_id
        old, new = await rotates(watched)
        bad = watched.lease_id
        store.goes_down()
        watched.reject(new, keeping=old)
        assert watched.entry.revision == old
        await clock.advance(300)
        assert sorted(store.alive()) == sorted([good, bad])
        kept = watched.watcher.kept()
        assert kept.current is not None and kept.current.revision == old
        assert [each.revision for each in kept.former] == [new]
        assert watched.ledger.is_alive("app", old)
        store.comes_back()
        await clock.settle()
        assert bad not in store.alive()
        watched.hold(old)
        await clock.advance(301)
        assert watched.entry.revision not in (old, new), "never put back itself"


async def test_what_was_refused_is_never_put_back(clock: JumpClock, watch: Watch) -> None:
    """Its revocation hangs while the next one is refused as well."""
    store = ScriptedStore(clock, ttl=3600)

    def hang(asked: Asked) -> object:
        return asyncio.Event().wait() if asked.what == "revoke" else None

    store.before = hang  # type: ignore[assignment]
    async with watch(store) as watched:
        old, new = await rotates(watched)
        watched.reject(new, keeping=old)
        await clock.advance(7)
        third = watched.entry.revision
        assert third not in (old, new)
        watched.ledger.hold("late", {"app": {new}})
        watched.hold(old, third)
        watched.reject(third, keeping=old)
        assert watched.entry.revision == old


async def test_not_even_if_somebody_takes_it_up_late(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        old, new = await rotates(watched)
        watched.reject(new, keeping=old)
        watched.ledger.hold("late", {"app": {new}})
        await clock.advance(7)
        third = watched.entry.revision
        assert third not in (old, new)
        watched.hold(old, third)
        watched.reject(third, keeping=old)
        assert watched.entry.revision == old


async def test_what_is_being_revoked_is_not_put_back(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=3600)

    def hang(asked: Asked) -> object:
        return asyncio.Event().wait() if asked.what == "revoke" else None

    store.before = hang  # type: ignore[assignment]
    async with watch(store) as watched:
        old, new = await rotates(watched)
        watched.hold(new)
        await clock.settle()
        watched.reject(new, keeping=old)
        assert watched.entry.revision == new and watched.all(SecretRefused)[0].restored is None


async def test_the_store_goes_down_while_it_pauses(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=86_400)
    async with watch(store, max_stale=3600.0) as watched:
        old, new = await rotates(watched)
        watched.reject(new, keeping=old)
        await clock.settle()
        store.goes_down()
        await clock.advance(1800)
        assert watched.entry.is_usable and watched.entry.kind == "outage"
        store.comes_back()
        await clock.settle()
        assert watched.number == 3 and watched.state == "fresh"


# --- values without a lease -------------------------------------------------------------------


def value(number: int) -> Reading:
    return Reading(Secret({"number": number}), str(number))


async def kv_rotates(watched: Watched, number: int) -> tuple[int, int]:
    watched.store.fixed = value(number)
    return await rotates(watched)


async def test_the_same_value_is_the_next_attempt_after_the_pause(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    store.fixed = value(1)
    async with watch(store) as watched:
        old, new = await kv_rotates(watched, 2)
        tries: list[float] = []
        for _ in range(8):
            watched.reject(watched.entry.revision, keeping=old)
            refused_at = clock.now()
            assert watched.number == 1 and watched.entry.revision == old
            await clock.run_until(lambda: watched.entry.revision != old, within=301)
            tries.append(clock.now() - refused_at)
            assert watched.number == 2 and watched.entry.revision > new
            watched.hold(old, watched.entry.revision)
        announced = [each.retry_after for each in watched.all(SecretRefused)]
        assert tries == pytest.approx([max(each, 0.5) for each in announced], abs=1.0)


async def test_a_read_that_was_under_way_is_no_attempt(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    store.fixed = value(1)
    async with watch(store) as watched:
        old, new = await kv_rotates(watched, 2)
        answer = asyncio.Event()

        async def slowly(asked: Asked) -> None:
            await answer.wait()

        store.before = slowly
        watched.watcher.refresh()
        await clock.advance(1)
        watched.reject(new, keeping=old)
        pause = watched.all(SecretRefused)[0].retry_after
        store.before = lambda asked: None
        answer.set()
        await clock.settle()
        assert watched.number == 1 and watched.entry.kind == "refused"
        await clock.advance(pause + 1.1)
        assert watched.number == 2


async def test_the_origin_goes_back_as_well(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    store.fixed = value(1)
    async with watch(store) as watched:
        old, new = await kv_rotates(watched, 2)
        watched.reject(new, keeping=old)
        store.fixed = value(1)
        watched.told.clear()
        await clock.advance(7)
        assert watched.entry.revision == old and watched.state == "fresh"
        assert not watched.told.is_set()
        reads = store.times("read")
        await clock.advance(1000)
        gaps = [b - a for a, b in itertools.pairwise(store.times("read")[len(reads) - 1 :])]
        assert min(gaps) >= 299, "back to its own interval"


async def test_max_stale_does_not_run_while_the_store_answers(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    store.fixed = value(1)
    async with watch(store, max_stale=100.0) as watched:
        old, _ = await kv_rotates(watched, 2)
        for _ in range(200):
            if watched.entry.revision != old:
                watched.hold(old, watched.entry.revision)
                watched.reject(watched.entry.revision, keeping=old)
            await clock.advance(10)
            assert watched.entry.is_usable
        watched.reject(watched.entry.revision, keeping=old)
        assert not watched.all(SecretExpired)
        store.fail("read", error=Outage, is_store_wide=False)
        watched.watcher.refresh()
        await clock.advance(405)
        assert not watched.entry.is_usable, "now it does"


async def test_refused_with_nothing_to_go_back_to_and_then_proven(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock)
    store.fixed = value(1)
    async with watch(store) as watched:
        first = watched.entry.revision
        watched.ledger.reject("app", first, "not confirmed")
        assert watched.entry.kind == "refused"
        await clock.advance(600)
        assert watched.entry.kind == "refused" and watched.entry.revision == first
        assert 3 <= len(store.times("read")) <= 40
        watched.hold(first)
        await clock.advance(301)
        assert watched.state == "fresh" and watched.entry.revision == first


async def test_a_certificate_that_is_over_is_not_put_back(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock)
    store.fixed = Reading(Secret({"number": 1}), "1", not_after=clock.wall() + 50)
    async with watch(store) as watched:
        store.fixed = Reading(Secret({"number": 2}), "2", not_after=clock.wall() + 9000)
        old, new = await rotates(watched)
        assert watched.ledger.is_alive("app", old)
        await clock.advance(60)
        assert not watched.ledger.is_alive("app", old)
        watched.reject(new, keeping=old)
        assert watched.entry.revision == new and watched.entry.is_usable


# --- what the ledger knows of former values ---------------------------------------------------


async def test_the_ledger_knows_what_is_alive_and_until_when(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        old, new = await rotates(watched)
        ledger = watched.ledger
        assert ledger.is_alive("app", old) and ledger.is_alive("app", new)
        assert ledger.ends_at("app", new) == watched.entry.expires_at
        before = ledger.ends_at("app", old)
        await clock.advance(90)
        after = ledger.ends_at("app", old)
        assert before is not None and after is not None and after > before, "it was renewed"
        watched.hold(new)
        await clock.settle()
        assert not ledger.is_alive("app", old) and ledger.ends_at("app", old) is None
        store.loses_token()
        assert not ledger.is_alive("app", new)


async def test_a_former_value_of_a_lost_token_is_dead_at_once(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        old, _ = await rotates(watched)
        store.loses_token()
        assert not watched.ledger.is_alive("app", old)


async def test_a_guest_keeps_the_refused_value_alive_but_does_not_stop_the_return(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        good = watched.lease_id
        old, new = await rotates(watched)
        bad = watched.lease_id
        watched.ledger.hold("callers", {"app": [new]}, is_guest=True)
        watched.reject(new, keeping=old)
        await clock.settle()
        assert watched.entry.revision == old and set(store.alive()) == {good, bad}
        watched.ledger.release("callers")
        await clock.settle()
        assert store.alive() == [good]


async def test_a_value_that_only_a_guest_holds_is_put_back_before_none_is(
    clock: JumpClock, watch: Watch
) -> None:
    store = ScriptedStore(clock, ttl=3600)
    async with watch(store) as watched:
        old, new = await rotates(watched)
        watched.ledger.hold("callers", {"app": [old]}, is_guest=True)
        watched.hold()
        watched.ledger.reject("app", new, "not confirmed")
        assert watched.entry.revision == old and watched.entry.is_usable
