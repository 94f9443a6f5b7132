"""The book of what is held: readers, consumers, watchers."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from agent.core.secret import Reading, Secret
from agent.ledger import Ledger, State
from tests.rig.clock import JumpClock


def reading(version: str, **fields: str) -> Reading:
    return Reading(Secret(fields or {"password": version}), version)


async def test_a_name_that_nobody_has_recorded_waits(clock: JumpClock) -> None:
    entry = Ledger(clock).entry("app")
    assert entry.state is State.WAITING and not entry.is_usable and entry.reading is None


async def test_only_a_changed_value_is_told(clock: JumpClock) -> None:
    ledger, event = Ledger(clock), asyncio.Event()
    with ledger.subscribe(["app", "web"], event) as subscription:
        assert ledger.record("app", reading("1"), None)
        assert subscription.take() == {"app"} and event.is_set()
        event.clear()
        assert not ledger.record("app", reading("1"), None)
        assert not event.is_set() and subscription.take() == set()
        assert ledger.record("app", reading("2"), None)
        ledger.record("other", reading("1"), None)
        assert subscription.take() == {"app"}
    event.clear()
    ledger.record("app", reading("3"), None)
    assert not event.is_set(), "no longer subscribed"


async def test_the_same_version_with_another_value_is_a_change(clock: JumpClock) -> None:
    ledger = Ledger(clock)
    ledger.record("app", reading("1", password="old"), None)
    before = ledger.entry("app").revision
    assert ledger.record("app", reading("1", password="new"), None)
    assert ledger.entry("app").revision > before


async def test_the_same_value_with_another_version_is_a_change(clock: JumpClock) -> None:
    ledger = Ledger(clock)
    ledger.record("app", reading("1", password="same"), None)
    assert ledger.record("app", reading("2", password="same"), None)


async def test_entries_already_taken_do_not_change(clock: JumpClock) -> None:
    ledger = Ledger(clock)
    ledger.record("app", reading("1"), None)
    snapshot = ledger.snapshot(["app", "web"])
    ledger.record("app", reading("2"), None)
    assert snapshot["app"].reading == reading("1")
    assert snapshot["web"].state is State.WAITING


async def test_a_stale_value_stays_usable_and_keeps_its_first_moment(clock: JumpClock) -> None:
    ledger, event = Ledger(clock), asyncio.Event()
    ledger.record("app", reading("1"), None)
    with ledger.subscribe(["app"], event):
        ledger.stale("app", "refused", "denied")
        since = clock.now()
        await clock.advance(60)
        ledger.stale("app", "can't connect", "outage")
        entry = ledger.entry("app")
        assert entry.is_usable and entry.state is State.STALE
        assert (entry.stale_since, entry.reason, entry.kind) == (since, "can't connect", "outage")
        assert not event.is_set(), "the value is the same"
    ledger.record("app", reading("1"), None)
    entry = ledger.entry("app")
    assert entry.state is State.FRESH and entry.stale_since is None and entry.reason is None


async def test_a_value_waited_for_says_why(clock: JumpClock) -> None:
    ledger = Ledger(clock)
    ledger.stale("app", "not logged in yet", "not_logged_in")
    assert ledger.entry("app").state is State.WAITING
    assert ledger.entry("app").reason == "not logged in yet"


async def test_an_expired_value_is_told_and_so_is_its_return(clock: JumpClock) -> None:
    ledger, event = Ledger(clock), asyncio.Event()
    ledger.record("app", reading("1"), None)
    with ledger.subscribe(["app"], event) as subscription:
        ledger.expired("app")
        assert subscription.take() == {"app"} and not ledger.entry("app").is_usable
        ledger.stale("app", "can't connect", "outage")
        assert ledger.entry("app").state is State.EXPIRED
        assert ledger.record("app", reading("1"), None), "the same value, usable again"
        assert subscription.take() == {"app"} and ledger.entry("app").is_usable


async def test_an_expired_value_that_is_renewed_is_told(clock: JumpClock) -> None:
    ledger, event = Ledger(clock), asyncio.Event()
    ledger.record("app", reading("1"), None)
    ledger.expired("app")
    with ledger.subscribe(["app"], event):
        ledger.renewed("app", reading("1"), clock.now() + 60)
        assert event.is_set() and ledger.entry("app").is_usable


async def test_a_renewal_of_a_usable_value_is_no_news(clock: JumpClock) -> None:
    ledger, event = Ledger(clock), asyncio.Event()
    ledger.record("app", reading("1"), clock.now() + 10)
    with ledger.subscribe(["app"], event):
        ledger.renewed("app", reading("1"), clock.now() + 60)
        assert not event.is_set()
    assert ledger.entry("app").expires_at == clock.now() + 60


async def test_a_removed_secret_is_told_and_waits_again(clock: JumpClock) -> None:
    ledger, event = Ledger(clock), asyncio.Event()
    ledger.record("app", reading("1"), None)
    with ledger.subscribe(["app"], event):
        ledger.remove("app")
        assert event.is_set()
    assert ledger.entry("app").state is State.WAITING and ledger.entries() == []
    ledger.remove("app")


# --- consumers --------------------------------------------------------------------------------


async def test_the_watcher_is_told_when_a_revision_is_let_go(clock: JumpClock) -> None:
    ledger = Ledger(clock)
    released: list[str] = []
    with ledger.on_release("app", lambda: released.append("app")):
        ledger.hold("bundle", {"app": [1]})
        ledger.hold("process", {"app": [1, 2]})
        assert ledger.held("app") == {1, 2} and not released
        ledger.hold("process", {"app": [2]})
        assert ledger.held("app") == {1, 2} and len(released) == 1
        ledger.hold("bundle", {"app": [2, 3]})
        assert ledger.held("app") == {2, 3}
        ledger.release("bundle")
        ledger.release("process")
        assert ledger.held("app") == set() and len(released) == 4
    ledger.hold("bundle", {"app": [9]})
    ledger.release("bundle")
    assert len(released) == 4, "no longer listening"


async def test_releasing_what_holds_nothing_is_no_error(clock: JumpClock) -> None:
    Ledger(clock).release("bundle")


holds = st.dictionaries(
    st.sampled_from(["app", "web"]), st.sets(st.integers(1, 5)).map(frozenset), max_size=2
)


@given(st.lists(st.tuples(st.sampled_from(["bundle", "process", "api"]), holds), max_size=20))
def test_what_is_held_is_the_union_of_what_each_said_last(
    said: list[tuple[str, dict[str, frozenset[int]]]],
) -> None:
    ledger = Ledger(JumpClock())
    last: dict[str, dict[str, frozenset[int]]] = {}
    for consumer, revisions in said:
        ledger.hold(consumer, revisions)
        last[consumer] = revisions
        for name in ("app", "web"):
            expected = frozenset[int]().union(*(each.get(name, ()) for each in last.values()))
            assert ledger.held(name) == expected


# --- what is alive, and what was rejected -----------------------------------------------------


async def test_the_current_value_is_alive_until_its_end(clock: JumpClock) -> None:
    ledger = Ledger(clock)
    assert not ledger.is_alive("app", 0) and ledger.ends_at("app", 0) is None
    ledger.record("app", reading("1"), clock.now() + 10)
    revision = ledger.entry("app").revision
    assert ledger.is_alive("app", revision)
    assert ledger.ends_at("app", revision) == clock.now() + 10
    assert not ledger.is_alive("app", revision + 1)
    await clock.advance(10)
    assert not ledger.is_alive("app", revision), "whatever the watcher is about"
    ledger.record("app", reading("1"), None)
    assert ledger.is_alive("app", revision)
    ledger.expired("app")
    assert not ledger.is_alive("app", revision)


async def test_a_former_value_is_alive_as_long_as_it_is_kept(clock: JumpClock) -> None:
    ledger = Ledger(clock)
    ledger.former("app", 1, clock.now() + 10)
    ledger.former("app", 2, None)
    assert ledger.is_alive("app", 1) and ledger.ends_at("app", 1) == clock.now() + 10
    assert ledger.is_alive("app", 2) and ledger.ends_at("app", 2) is None
    assert not ledger.is_alive("web", 1)
    await clock.advance(10)
    assert not ledger.is_alive("app", 1)
    ledger.retired("app", 2)
    ledger.retired("app", 2)
    assert not ledger.is_alive("app", 2)


async def test_a_rejection_is_heeded_once_nobody_holds_the_revision(clock: JumpClock) -> None:
    ledger, told = Ledger(clock), []
    ledger.record("app", reading("1"), None)
    now = ledger.entry("app").revision
    ledger.hold("other", {"app": [now]})
    with ledger.on_release("app", lambda: told.append(ledger.heed_rejection("app"))):
        ledger.reject("app", now, "not confirmed")
        assert told == [None]
        ledger.release("other")
        assert told == [None, "not confirmed"]
        assert ledger.heed_rejection("app") is None, "answered once"
        ledger.reject("app", now - 1, "not confirmed")
        ledger.reject("web", now, "not confirmed")
        assert len(told) == 2, "no longer current, or never"


async def test_who_takes_it_up_anew_gives_it_another_chance(clock: JumpClock) -> None:
    ledger = Ledger(clock)
    ledger.record("app", reading("1"), None)
    now = ledger.entry("app").revision
    ledger.reject("app", now, "not confirmed")
    ledger.hold("bundle", {"app": [now]})
    ledger.release("bundle")
    assert ledger.heed_rejection("app") is None


async def test_a_new_value_is_another_one_than_was_rejected(clock: JumpClock) -> None:
    ledger = Ledger(clock)
    ledger.record("app", reading("1"), None)
    ledger.reject("app", ledger.entry("app").revision, "not confirmed")
    ledger.record("app", reading("2"), None)
    assert ledger.heed_rejection("app") is None


async def test_a_value_that_is_current_again_has_its_old_number_and_is_told(
    clock: JumpClock,
) -> None:
    ledger, event = Ledger(clock), asyncio.Event()
    with ledger.subscribe(["app"], event):
        ledger.resume(
            "app",
            reading("1"),
            7,
            read_at=clock.now() - 9,
            expires_at=None,
            stale_since=clock.now() - 5,
            reason="why",
            kind="cached",
        )
        assert event.is_set()
    entry = ledger.entry("app")
    assert entry.revision == 7 and entry.state is State.STALE and entry.is_usable
    assert (entry.stale_since, entry.reason, entry.kind) == (clock.now() - 5, "why", "cached")
    assert not ledger.record("app", reading("1"), None), "the same value: no news"
    assert ledger.record("app", reading("2"), None) and ledger.entry("app").revision == 8
    ledger.continue_after(3)
    assert ledger.record("app", reading("3"), None) and ledger.entry("app").revision == 9


async def test_an_observer_hears_of_every_other_value_or_state(clock: JumpClock) -> None:
    ledger, heard = Ledger(clock), list[str]()
    with ledger.observe(heard.append):
        ledger.record("app", reading("1"), None)
        ledger.record("app", reading("1"), None)
        ledger.next_due("app", 5.0)
        ledger.good_until("app", 5.0)
        assert heard == ["app"]
        ledger.stale("app", "no answer", "outage")
        ledger.stale("app", "no answer", "outage")
        assert heard == ["app"] * 2
        ledger.record("app", reading("1"), None)
        ledger.record("web", reading("1"), None)
        ledger.expired("app")
        ledger.remove("app")
        assert heard == ["app", "app", "app", "web", "app", "app"]
    ledger.record("app", reading("2"), None)
    assert len(heard) == 6
