"""The transaction's machine, move by move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.delivery.revisions import ones, union
from agent.delivery.transaction import (
    NO_FALLBACK,
    SHORTEST_PAUSE,
    Fallback,
    Shown,
    Step,
    Transaction,
    retry_at,
)

NOW = 1000.0
LEASED = frozenset({"db"})
OLD, NEW, NEWER = {"db": 1}, {"db": 2}, {"db": 3}
FALLBACK = Fallback(generation=1, is_alive=True, ends_at=NOW + 100)
CURRENT, UNTOLD = Shown(1, 1), Shown(2, 1)

settled = Transaction(proven=OLD, wanted=OLD, leased=LEASED)


def rendered(wanted: dict[str, int] = NEW, before: Transaction = settled) -> Transaction:
    attempt = sum(wanted.values())
    moved = before.begin(wanted, LEASED, NOW).rendered(attempt, NOW)
    assert moved.step is Step.COMPARING
    return moved


def told(before: Transaction = settled, wanted: dict[str, int] = NEW) -> Transaction:
    """Generation 2 is published and announced, and its app is to prove it."""
    validating = rendered(wanted, before).compared(is_changed=True, shown=CURRENT)
    published = validating.validated().published(is_known=False)
    return published.notified(asks=True)


def taken_back() -> Transaction:
    """Generation 1 is back, and the app is to prove that."""
    return told().failed(NOW, 10, FALLBACK).restored().notified(asks=True)


def test_a_rotation_step_by_step() -> None:
    states = [moved := settled.begin(NEW, LEASED, NOW)]
    states.append(moved := moved.rendered(7, NOW))
    states.append(moved := moved.compared(is_changed=True, shown=CURRENT))
    states.append(moved := moved.validated())
    states.append(moved := moved.published(is_known=False))
    assert moved.held == {"db": {1, 2}}
    states.append(moved := moved.notified(asks=True))
    states.append(moved := moved.confirmed())
    assert moved.proven == OLD, "not before it is on record"
    states.append(moved := moved.settled(NOW, 1))
    assert [each.state for each in states] == [
        "rendering",
        "comparing",
        "validating",
        "publishing",
        "notifying",
        "confirming",
        "settling",
        "waiting",
    ]
    assert (moved.proven, moved.trouble) == (NEW, None) and moved.held == {"db": {2}}


def test_what_is_as_it_was_and_known_takes_no_step() -> None:
    moved = rendered(OLD).compared(is_changed=False, shown=CURRENT)
    assert moved.step is Step.WAITING and moved.trouble is None and moved.retry_at is None


@pytest.mark.parametrize("shown", [UNTOLD, Shown(1, None), Shown(1, 0), Shown(1, 1, True)])
def test_what_is_not_known_to_the_app_is_announced(shown: Shown) -> None:
    assert rendered(OLD).compared(is_changed=False, shown=shown).step is Step.NOTIFYING


def test_the_first_generation_needs_no_announcement() -> None:
    validating = rendered(OLD, Transaction()).compared(is_changed=True, shown=Shown(None, None))
    moved = validating.validated().published(is_known=True)
    assert (moved.step, moved.proven, moved.exposed) == (Step.WAITING, OLD, {})


def test_an_app_that_is_not_there_needs_no_proof() -> None:
    validating = rendered().compared(is_changed=True, shown=CURRENT)
    moved = validating.validated().published(is_known=False).notified(asks=False)
    assert moved.step is Step.SETTLING


def test_what_the_app_can_not_prove_is_taken_back_and_then_refused() -> None:
    back = taken_back()
    assert (back.step, back.state, back.undoes) == (Step.CONFIRMING_AGAIN, "rolling_back", 1)
    assert back.held == {"db": {1, 2}} and not back.refused, "it may still use the new one"
    over = back.confirmed().settled(NOW, 10, FALLBACK)
    assert (over.step, over.trouble, over.refused) == (Step.WAITING, Step.CONFIRMING, NEW)
    assert (over.proven, over.retry_at) == (OLD, NOW + 10) and over.held == {"db": {1}}


def test_the_put_back_values_end_no_trouble_and_the_next_ones_do() -> None:
    over = taken_back().confirmed().settled(NOW, 10, FALLBACK)
    quiet = rendered(OLD, over).compared(is_changed=False, shown=CURRENT)
    assert quiet.step is Step.WAITING and quiet.trouble is Step.CONFIRMING
    assert quiet.waits_for_another
    fine = told(quiet, NEWER).confirmed().settled(NOW, 1)
    assert (fine.trouble, fine.refused, fine.proven) == (None, {}, NEWER)


def test_what_was_refused_is_not_held_again_nor_tried_before_its_time() -> None:
    over = taken_back().confirmed().settled(NOW, 10, FALLBACK)
    early = over.begin(NEW, LEASED, NOW + 9).rendered(2, NOW + 9)
    assert early.step is Step.WAITING and early.held == {"db": {1}}
    assert early.begin(NEW, LEASED, NOW + 10).rendered(2, NOW + 10).step is Step.COMPARING
    assert early.begin(NEWER, LEASED, NOW + 9).rendered(3, NOW + 9).step is Step.COMPARING, (
        "another"
    )
    assert early.begin(NEW, LEASED, NOW + 9).rendered(8, NOW + 9).step is Step.COMPARING, (
        "a new template"
    )


def test_a_refused_candidate_is_not_checked_again_before_its_time() -> None:
    failed = rendered().compared(is_changed=True, shown=CURRENT).failed(NOW, 10)
    assert (failed.trouble, failed.retry_at) == (Step.VALIDATING, NOW + 10)
    early = failed.begin(NEW, LEASED, NOW + 1).rendered(2, NOW + 1)
    assert early.step is Step.WAITING and early.held == {"db": {1, 2}}


@pytest.mark.parametrize("step", [Step.COMPARING, Step.PUBLISHING, Step.NOTIFYING])
def test_what_is_no_refusal_is_tried_again_as_soon_as_something_changes(step: Step) -> None:
    failed = Transaction(step=step, proven=OLD, wanted=NEW, attempt=2).failed(NOW, 10)
    assert failed.begin(NEW, LEASED, NOW + 1).rendered(2, NOW + 1).step is Step.COMPARING


@pytest.mark.parametrize(
    "fallback",
    [
        NO_FALLBACK,
        Fallback(None, is_alive=True),
        Fallback(1, is_alive=False),
        Fallback(1, is_alive=True, ends_at=NOW),
    ],
)
def test_what_is_dead_is_not_put_back(fallback: Fallback) -> None:
    failed = told().failed(NOW, 10, fallback)
    assert (failed.step, failed.undoes) == (Step.WAITING, None) and failed.held == {"db": {1, 2}}
    assert failed.trouble is Step.CONFIRMING
    again = failed.begin(NEW, LEASED, NOW + 10).rendered(2, NOW + 10)
    assert again.compared(is_changed=False, shown=UNTOLD).notified(asks=True).step is (
        Step.CONFIRMING
    )


@pytest.mark.parametrize("step", [Step.RESTORING, Step.NOTIFYING_AGAIN, Step.CONFIRMING_AGAIN])
def test_a_way_back_that_failed_is_gone_on_with_and_refuses_nothing(step: Step) -> None:
    back = Transaction(step=step, proven=OLD, wanted=NEW, exposed={"db": frozenset({2})}, undoes=1)
    failed = back.failed(NOW, 10, FALLBACK)
    assert failed.step is Step.WAITING and failed.held == {"db": {1, 2}} and not failed.refused
    assert failed.begin(NEW, LEASED, NOW + 9, FALLBACK) == failed
    assert failed.begin(NEW, LEASED, NOW + 10, FALLBACK).step is Step.RESTORING


def test_a_way_back_ends_where_something_new_is_there_or_the_time_is_short() -> None:
    failed = taken_back().failed(NOW, 10, FALLBACK)
    newer = failed.begin(NEWER, LEASED, NOW + 1, FALLBACK)
    assert newer.step is Step.RENDERING and newer.undoes is None
    assert newer.held == {"db": {1, 2, 3}}, "the app may use any of them"
    assert failed.begin(NEW, LEASED, NOW + 90, FALLBACK, room=15).step is Step.RENDERING
    assert failed.begin(NEW, LEASED, NOW + 90, NO_FALLBACK).step is Step.RENDERING


def test_a_second_rotation_before_the_first_is_proven_holds_all_three() -> None:
    failed = told().failed(NOW, 10)
    assert told(failed, NEWER).held == {"db": {1, 2, 3}}
    assert told(failed, NEWER).confirmed().settled(NOW, 1).held == {"db": {3}}


def test_values_that_nobody_can_take_away_are_not_kept_for_the_app() -> None:
    begun = settled.begin(NEW, frozenset(), NOW).rendered(2, NOW)
    published = begun.compared(is_changed=True, shown=CURRENT).validated().published(is_known=False)
    assert published.failed(NOW, 1).begin(NEWER, LEASED, NOW + 1).held == {"db": {1, 3}}


def test_after_a_restart_the_app_may_be_using_what_the_secrets_are() -> None:
    restarted = Transaction(proven=OLD).begin(NEW, LEASED, NOW).failed(NOW, 1)
    assert restarted.begin(NEWER, LEASED, NOW + 1).held == {"db": {1, 2, 3}}


def test_a_template_that_the_app_does_not_take_refuses_no_secret() -> None:
    over = told(settled, OLD).failed(NOW, 10, FALLBACK).restored().notified(asks=True)
    over = over.confirmed().settled(NOW, 10, FALLBACK)
    assert (over.refused, over.trouble, over.retry_at) == ({}, Step.CONFIRMING, NOW + 10)
    mended = over.begin(OLD, LEASED, NOW + 1).rendered(99, NOW + 1)
    fine = mended.compared(is_changed=False, shown=CURRENT)
    assert fine.trouble is None, "the template is as it was"


def test_with_nothing_proven_known_all_that_was_new_is_refused() -> None:
    over = told(Transaction()).failed(NOW, 10, FALLBACK).restored().notified(asks=True)
    over = over.confirmed().settled(NOW, 10, FALLBACK)
    assert (over.refused, over.held) == (NEW, {})


@given(st.sampled_from(Step))
def test_a_successor_holds_what_its_predecessor_did(step: Step) -> None:
    former = Transaction(
        step=step, proven=OLD, wanted=NEWER, exposed={"db": frozenset({2})}, undoes=1
    )
    fresh = Transaction().succeeded(former)
    assert (fresh.step, fresh.undoes, fresh.proven) == (Step.WAITING, None, OLD)
    assert fresh.held == former.held


# --- drills -----------------------------------------------------------------------------------


def drilled() -> Transaction:
    published = settled.rehearse().validated().published(is_known=False)
    return published.notified(asks=True)


def test_a_drill_that_is_survived_changes_nothing() -> None:
    over = drilled().confirmed().settled(NOW, 1)
    assert over == settled


def test_a_drill_that_is_taken_back_refuses_nothing_and_is_no_trouble() -> None:
    over = drilled().failed(NOW, 1, FALLBACK).restored().notified(asks=True)
    over = over.confirmed().settled(NOW, 10, FALLBACK)
    assert over == settled


@pytest.mark.parametrize("step", [Step.VALIDATING, Step.PUBLISHING])
def test_a_drill_that_publishes_nothing_is_no_trouble(step: Step) -> None:
    assert replace(settled, step=step, is_drill=True).failed(NOW, 1) == settled


def test_a_drill_after_which_nothing_is_known_is_trouble() -> None:
    back = drilled().failed(NOW, 1, FALLBACK).restored().notified(asks=True)
    failed = back.failed(NOW, 10, FALLBACK)
    assert failed.trouble is Step.CONFIRMING_AGAIN and not failed.is_drill
    assert failed.begin(OLD, LEASED, NOW + 10, FALLBACK).step is Step.RESTORING


# --- pauses -----------------------------------------------------------------------------------

pauses = st.floats(0.05, 300)
instants = st.floats(0, 1e6)


@given(instants, pauses, st.none() | instants)
def test_another_attempt_comes_before_the_end_of_what_is_proven(
    now: float, pause: float, ends_at: float | None
) -> None:
    at = retry_at(now, pause, Fallback(1, is_alive=True, ends_at=ends_at))
    assert now < at <= now + pause + 1e-6
    if ends_at is not None and ends_at - now > 2 * SHORTEST_PAUSE:
        assert at < ends_at
    if pause >= SHORTEST_PAUSE:
        assert at >= now + SHORTEST_PAUSE, "never hotter than that"


# --- revisions --------------------------------------------------------------------------------

revisions = st.dictionaries(st.sampled_from("abc"), st.integers(1, 5))


@given(st.lists(revisions, max_size=4))
def test_a_union_has_all_and_nothing_else(each: list[dict[str, int]]) -> None:
    together = union(*map(ones, each))
    pairs = {(name, number) for held in each for name, number in held.items()}
    assert pairs == {(name, number) for name, numbers in together.items() for number in numbers}
