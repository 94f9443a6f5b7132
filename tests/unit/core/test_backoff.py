"""The one backoff."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.core.backoff import Backoff


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=100))
def test_delays_are_drawn_from_the_whole_range_below_the_limit(draws: list[float]) -> None:
    backoff = Backoff(first=2.0, ceiling=50.0, draw=iter(draws).__next__)
    for attempt, draw in enumerate(draws):
        limit = min(50.0, 2.0 * 2**attempt)
        assert backoff.delay() == max(0.2, limit * draw)


def test_it_never_is_no_delay_at_all() -> None:
    backoff = Backoff(first=1.0, draw=lambda: 0.0)
    assert [backoff.delay() for _ in range(50)] == [0.1] * 50


def test_a_thousand_failures_overflow_nothing() -> None:
    backoff = Backoff(ceiling=60.0, draw=lambda: 0.999)
    assert max(backoff.delay() for _ in range(5000)) <= 60.0


def test_success_and_only_that_starts_anew() -> None:
    backoff = Backoff(first=1.0, ceiling=60.0, draw=lambda: 0.5)
    assert [backoff.delay() for _ in range(4)] == [0.5, 1.0, 2.0, 4.0]
    assert backoff.attempts == 4
    backoff.reset()
    assert backoff.attempts == 0
    assert backoff.delay() == 0.5


def test_the_ceiling_may_grow_meanwhile() -> None:
    backoff = Backoff(first=1.0, ceiling=2.0, draw=lambda: 0.5)
    for _ in range(10):
        assert backoff.delay() <= 1.0
    backoff.ceiling = 100.0
    assert backoff.delay() == 50.0
