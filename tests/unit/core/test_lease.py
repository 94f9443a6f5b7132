"""When a value is due, whatever the numbers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.core.lease import (
    FLOOR_SECONDS,
    JITTER,
    Act,
    Due,
    Policy,
    Term,
    due,
    due_with_parent,
    due_without_term,
    next_attempt,
    not_before,
    room,
)

TINY = 1e-6
instants = st.floats(0, 1e8)
durations = st.floats(0.5, 1e7)
lots = st.floats(0, 1, exclude_max=True)
policies = st.builds(
    Policy,
    refresh_every=st.floats(1, 1e6),
    renew_at=st.floats(0.1, 0.95),
    headroom=st.floats(0, 1e5),
    draw=lots,
)


@st.composite
def terms(draw: st.DrawFn) -> Term:
    full = draw(durations)
    lasts = draw(st.one_of(st.just(full), st.floats(0.01, full)))
    return Term(draw(instants), lasts, draw(st.booleans()), full)


@given(terms(), policies)
def test_a_term_is_due_while_it_lives(term: Term, policy: Policy) -> None:
    at = due(term, policy).at
    assert term.began_at <= at <= max(term.began_at, term.ends_at)


@given(terms(), policies)
def test_a_whole_term_leaves_the_room_that_is_configured(term: Term, policy: Policy) -> None:
    assume(term.lasts == term.full)
    left = term.ends_at - due(term, policy).at
    needed = term.full * (1 - policy.renew_at)
    assert needed - TINY * term.ends_at <= left
    assert left >= min(policy.headroom, term.full / 2) - TINY * term.ends_at


@given(terms(), policies)
def test_the_handover_takes_never_over_half_of_a_term(term: Term, policy: Policy) -> None:
    assume(policy.renew_at >= 0.5)
    assert room(term.full, policy) <= term.full / 2
    left = term.ends_at - due(term, policy).at
    assert left <= max(term.full / 2, term.lasts) * (1 + JITTER) + TINY * term.ends_at


@given(terms(), policies, lots)
def test_jitter_makes_it_earlier_never_later(term: Term, policy: Policy, draw: float) -> None:
    without = Policy(policy.refresh_every, policy.renew_at, policy.headroom, 0.0)
    jittered = Policy(policy.refresh_every, policy.renew_at, policy.headroom, draw)
    assert due(term, jittered).at <= due(term, without).at
    assert due(term, jittered).act is due(term, without).act


@given(terms(), policies, st.floats(0, 1e7))
def test_nothing_is_asked_twice_within_the_floor(
    term: Term, policy: Policy, since_start: float
) -> None:
    asked_at = term.began_at + since_start
    at = not_before(due(term, policy), asked_at).at
    assert at >= asked_at + FLOOR_SECONDS - TINY


@given(terms(), policies)
def test_the_floor_never_makes_a_fresh_lease_late(term: Term, policy: Policy) -> None:
    assume(term.lasts >= 0.25)
    at = not_before(due(term, policy), term.began_at, term.lasts).at
    assert at < term.ends_at


def test_a_store_that_promises_next_to_nothing_is_not_asked_in_a_loop() -> None:
    term = Term(0.0, 0.001, True, 0.001)
    assert not_before(due(term, Policy()), 0.0, term.lasts).at >= 0.1


def test_it_is_renewed_while_it_can_be_and_else_replaced() -> None:
    assert due(Term(0, 100, True, 100), Policy()).act is Act.RENEW
    assert due(Term(0, 100, False, 100), Policy()).act is Act.REPLACE


@given(
    ttl=st.integers(1, 100_000),
    maximum=st.floats(1, 30),
    policy=policies,
)
def test_a_maximum_leads_to_a_replacement_with_room(
    ttl: int, maximum: float, policy: Policy
) -> None:
    """A server that grants what is asked for until the maximum, as Vault does."""
    last = ttl * maximum
    term = Term(0.0, ttl, True, ttl)
    for _ in range(1000):
        planned = due(term, policy)
        if planned.act is Act.REPLACE:
            break
        assert planned.at < term.ends_at
        term = term.renewed(planned.at, min(ttl, last - planned.at), True)
    assert planned.act is Act.REPLACE
    assert term.ends_at - planned.at >= room(ttl, policy) * 0.98 - TINY
    assert planned.at < term.ends_at


@given(terms(), policies)
def test_a_clock_that_jumps_over_everything_makes_it_due_now(term: Term, policy: Policy) -> None:
    """After a suspension `now` is past every due time: the answer is in the past, not pushed on."""
    now = term.ends_at + 1e6
    assert due(term, policy).at < now
    assert due_without_term(term.began_at, policy, expires_at=term.ends_at).at < now
    assert not_before(due(term, policy), term.began_at).at < now


# --- a parent with a successor ----------------------------------------------------------------


@given(terms(), policies, st.floats(1, 1e6), st.floats(0, 1e6))
def test_children_of_an_ending_parent_are_replaced_before_its_end(
    term: Term, policy: Policy, left: float, since_start: float
) -> None:
    since = term.began_at + since_start
    planned = due_with_parent(term, policy, since + left, since)
    if planned.act is Act.REPLACE:
        assert planned.at <= since + left + TINY * since
    assert planned.at <= max(since + left, due(term, policy).at)


@given(terms(), policies, st.floats(1, 1e6), st.floats(0, 1e6))
def test_a_child_with_an_ending_parent_is_never_left_to_expire(
    term: Term, policy: Policy, left: float, since_start: float
) -> None:
    since = term.began_at + since_start
    planned = due_with_parent(term, policy, since + left, since)
    assert planned.at <= due(term, policy).at or planned.at <= since


def test_children_of_one_parent_are_spread_evenly() -> None:
    lots = [number / 100 for number in range(100)]
    term = Term(0.0, 10_000, True, 10_000)
    ats = [due_with_parent(term, Policy(draw=each), 1100.0, 100.0).at for each in lots]
    gaps = [later - earlier for earlier, later in itertools.pairwise(ats)]
    assert ats[0] == 100.0
    assert max(gaps) == pytest.approx(min(gaps))
    assert 650 < ats[-1] - ats[0] < 680, "two thirds of what is left; the rest is room"


def test_a_short_lease_is_renewed_until_its_turn_comes() -> None:
    policy = Policy(renew_at=0.5, draw=0.9)
    term = Term(0.0, 20, True, 20)
    planned = due_with_parent(term, policy, ends_at=1000.0, since=0.0)
    assert planned == due(term, policy)
    assert planned.act is Act.RENEW
    late = term.renewed(445.0, 20, True)
    assert due_with_parent(late, policy, 1000.0, 0.0) == Due(450.0, Act.REPLACE)


# --- values without a lease -------------------------------------------------------------------


@given(instants, policies)
def test_a_value_without_a_lease_is_read_again_within_its_interval(
    read_at: float, policy: Policy
) -> None:
    planned = due_without_term(read_at, policy)
    assert planned.act is Act.READ
    earliest = policy.refresh_every * (1 - JITTER)
    assert earliest - TINY * read_at <= planned.at - read_at
    assert planned.at <= read_at + policy.refresh_every


@given(instants, policies, st.floats(0, 1e6))
def test_a_hint_makes_it_sooner_never_later(read_at: float, policy: Policy, hint: float) -> None:
    planned = due_without_term(read_at, policy, read_again_after=hint)
    assert planned.at <= due_without_term(read_at, policy).at
    assert planned.at <= read_at + hint


@given(instants, policies, st.floats(-1e6, 1e7))
def test_a_certificate_is_replaced_before_its_end(
    read_at: float, policy: Policy, lasts: float
) -> None:
    planned = due_without_term(read_at, policy, expires_at=read_at + lasts)
    assert planned.act is Act.REPLACE
    assert read_at <= planned.at <= max(read_at, read_at + lasts)


# --- after a refusal --------------------------------------------------------------------------


@given(instants, st.floats(0.1, 1e4), durations)
def test_another_value_is_tried_with_time_to_spare(
    refused_at: float, pause: float, left: float
) -> None:
    """Never before the pause or a quarter of what is left, and never later than either."""
    at = next_attempt(refused_at, pause, refused_at + left)
    assert at - refused_at <= pause + TINY
    assert at - refused_at <= max(left / 4, FLOOR_SECONDS) + TINY
    assert at - refused_at >= min(pause, left / 4, FLOOR_SECONDS) - TINY


@given(instants, st.floats(0.1, 1e4))
def test_a_value_that_is_kept_alive_hurries_nobody(refused_at: float, pause: float) -> None:
    assert next_attempt(refused_at, pause, None) == refused_at + pause


@given(st.floats(60, 1e6), st.lists(st.floats(0.5, 300), min_size=30, max_size=30))
def test_there_are_several_attempts_before_the_end(left: float, pauses: list[float]) -> None:
    now, attempts = 0.0, 0
    for pause in pauses:
        now = next_attempt(now, pause, left)
        attempts += now < left
    assert attempts >= 3
