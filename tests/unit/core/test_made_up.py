"""What fell due while a store was away: when it is asked for, whatever the numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.core.lease import CATCH_UP_SHARE, LOOKS_APART, Absence, Act, Due, made_up

TINY = 1e-6
lots = st.floats(0, 1, exclude_max=True)
absences = st.builds(
    lambda began_at, lasted, draw: Absence(began_at, began_at + lasted, draw),
    st.floats(0, 1e7),
    st.floats(0, 1e6),
    lots,
)
intervals = st.floats(1, 1e6)


@given(absences, st.floats(0, 2e7), intervals)
def test_what_is_due_later_is_left_alone(absence: Absence, after: float, every: float) -> None:
    planned = Due(absence.ended_at + after + TINY, Act.READ)
    assert made_up(planned, absence, every, None) == planned


@given(absences, lots, intervals, st.none() | st.floats(0, 1e6))
def test_it_is_never_long_after_the_outage(
    absence: Absence, part: float, every: float, left: float | None
) -> None:
    """Not longer than that lasted, nor than the interval's share, nor a quarter of its life."""
    lasted = absence.ended_at - absence.began_at
    planned = Due(absence.began_at + lasted * part, Act.RENEW)
    ends_at = None if left is None else absence.ended_at + left
    found = made_up(planned, absence, every, ends_at)
    late = found.at - absence.ended_at
    assert found.act is Act.RENEW and found.at >= planned.at
    assert late <= lasted + TINY and late <= every * CATCH_UP_SHARE + TINY
    assert left is None or late <= left / 4 + TINY


@given(absences, intervals)
def test_a_short_outage_puts_nothing_off(absence: Absence, every: float) -> None:
    """Nor a secret that is read every few seconds."""
    planned = Due(absence.began_at, Act.READ)
    is_short = min(absence.ended_at - absence.began_at, every * CATCH_UP_SHARE) <= LOOKS_APART
    assert (made_up(planned, absence, every, None) is planned) == is_short


@given(st.floats(1, 1e4), st.floats(0, 1e4), st.floats(0.1, 1e4))
def test_absences_that_follow_closely_are_one(lasted: float, between: float, again: float) -> None:
    """A store that fails again while it is caught up with has not become a fresh one."""
    first = Absence(1000.0, 1000.0 + lasted, 0.1)
    began_at = first.ended_at + between
    both = first.followed_by(began_at, began_at + again, 0.7)
    assert both.draw == 0.7 and both.ended_at == began_at + again
    assert (both.began_at == 1000.0) == (began_at < first.ended_at + lasted)


def test_a_fleet_asks_less_than_three_times_as_much() -> None:
    """100 000 secrets with a lot each: the busiest second after an outage of any length."""
    every, count = 300.0, 100_000
    for lasted in (30.0, 90.0, 200.0, 270.0, 600.0, 86_400.0):
        ended_at = 100_000.0
        seconds = [0] * int(every)
        for number in range(count):
            due_at = ended_at - lasted + every * number / count
            planned = Due(due_at, Act.READ)
            lot = (number * 0.6180339887498949) % 1.0
            at = made_up(planned, Absence(ended_at - lasted, ended_at, lot), every, None).at
            seconds[min(int(at - ended_at), len(seconds) - 1)] += 1
        assert max(seconds) < 3 * count / every, lasted
