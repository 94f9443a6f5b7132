"""The model of a fleet: small, and in simulated time."""

from __future__ import annotations

import pytest

from agent.core.lease import Absence, Due
from benchmarks.fleet import real, secret
from benchmarks.fleet.scenes import Result, Scene, play

SIZE, FEW = 300, 100
MOST = 3.0
BIN = 10


def smooth(result: Result) -> float:
    """The busiest ten seconds after the event, in steady states; looks at its health among them."""
    after = result.course[int(result.event_at) :]
    rates = [sum(after[at : at + BIN]) / BIN for at in range(0, len(after) - BIN, BIN)]
    return max(rates) / result.steady


def test_after_ten_minutes_of_outage_the_fleet_asks_less_than_three_times_as_much() -> None:
    result = play(Scene.OUTAGE, "leasehold", SIZE)
    assert 1.0 < smooth(result) < MOST
    assert result.whole is not None and result.halfway is not None
    assert result.halfway < 180, "most of it is read within six tenths of five minutes"


def test_it_would_be_many_times_as_much_if_nothing_were_put_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at_once(planned: Due, absence: Absence, every: float, ends_at: float | None) -> Due:
        return planned

    monkeypatch.setattr(secret, "made_up", at_once)
    assert smooth(play(Scene.OUTAGE, "leasehold", FEW, watched=60.0)) > 2 * MOST


@pytest.mark.parametrize("peer", ["bao agent", "consul-template", "AWS agent"])
def test_the_others_ask_for_more_after_an_outage(peer: str) -> None:
    ours, theirs = (play(Scene.OUTAGE, name, FEW, watched=120.0) for name in ("leasehold", peer))
    assert smooth(theirs) > 2 * smooth(ours)
    assert theirs.peak / theirs.steady > 2 * ours.peak / ours.steady


def test_revoked_tokens_are_noticed_by_use_and_not_by_renewal() -> None:
    ours, theirs = (play(Scene.REVOKED, name, 60) for name in ("leasehold", "bao agent"))
    assert ours.whole is not None and theirs.whole is not None
    assert ours.whole < 300 < theirs.whole
    never = play(Scene.REVOKED, "consul-template", 20, watched=600.0)
    assert never.whole is None


def test_a_scene_is_the_same_each_time() -> None:
    once, again = (play(Scene.SHORT_OUTAGE, "leasehold", 50, watched=60.0) for _ in range(2))
    assert once == again


def test_the_agent_itself_does_as_the_model_says() -> None:
    """Its own store, auto-auth and watchers, before the same vault."""
    modelled, found = real.modelled(30), real.real(30)
    assert found.missed == modelled.missed == 30 * 16
    assert found.steady == pytest.approx(modelled.steady, rel=0.05)
    assert found.peak == pytest.approx(modelled.peak, rel=0.3)
    assert found.halfway == pytest.approx(modelled.halfway, rel=0.15)
    assert found.peak < MOST * found.steady
