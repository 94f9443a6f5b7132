"""What happens to the fleet: one scene, one kind of agent, one seed; and what came of it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Protocol

import msgspec

from benchmarks.fleet.load import Kind, Origin, Terms, Wanted
from benchmarks.fleet.ours import Agent
from benchmarks.fleet.peers import AwsAgent, BaoAgent, ConsulTemplate
from benchmarks.fleet.vault import Capacity, Vault
from benchmarks.fleet.world import World

QUIET = 120.0
"""Seconds of a steady fleet before anything happens."""


class Member(Protocol):
    """One agent of any make."""

    secrets: list[Any]

    def start(self) -> None: ...
    def settle(self) -> None: ...
    def behind(self) -> Iterable[Any]: ...
    def leased(self) -> Iterable[Any]: ...


Make = Callable[[World, Vault, Origin, Wanted], Member]
MAKES: dict[str, Make] = {each.name: each for each in (Agent, BaoAgent, ConsulTemplate, AwsAgent)}


class Scene(Enum):
    """The value is how it is told."""

    START = "start of all at once"
    OUTAGE = "the end of an outage of ten minutes"
    SHORT_OUTAGE = "the end of an outage of one minute"
    CHANGED = "a shared value is changed"
    ROTATED = "a static role that all share is rotated"
    REVOKED = "all tokens are revoked"


class Result(msgspec.Struct, frozen=True):
    """Requests a second: `steady` before, `peak` from the event on, and the most `looks` at the
    vault's health, which are not in `peak`.

    `whole` and `halfway` are the seconds until everything wanted is had; None: not in the time
    that was watched. `course` has the requests of each second, looks at health among them.
    """

    scene: Scene
    agent: str
    steady: float
    peak: float
    looks: float
    peak_of_both: float
    halfway: float | None
    whole: float | None
    event_at: float
    course: list[int]

    @property
    def ratio(self) -> float:
        """The peak, in steady states."""
        return self.peak / self.steady


class Fleet:
    """`size` agents of one make before a vault whose capacity fits the size."""

    def __init__(self, make: Make, size: int, seed: int, capacity: Capacity) -> None:
        self.world = World(seed)
        self.vault = Vault(self.world, capacity)
        self.origin = Origin(Terms())
        self.wanted = Wanted()
        self.agents = [make(self.world, self.vault, self.origin, self.wanted) for _ in range(size)]

    def want(self, secrets: Callable[[Member], Iterable[Any]]) -> None:
        """From now on these are wanted."""
        wanted = [secret for agent in self.agents for secret in secrets(agent)]
        for secret in wanted:
            secret.is_wanted = True
        self.wanted.begin(self.world.now, len(wanted))


def play(
    scene: Scene, name: str, size: int, *, seed: int = 7, watched: float | None = None
) -> Result:
    """Everything by simulated time; the capacity is that of one server for 10 000 agents."""
    whole = Capacity()
    capacity = Capacity(per_second=whole.per_second * size / 10_000)
    gc.disable()
    try:
        fleet = Fleet(MAKES[name], size, seed, capacity)
        event_at = SCENES[scene](fleet)
        fleet.world.run(event_at + (watched or WATCHED[scene]))
        return _result(scene, name, fleet, event_at)
    finally:
        gc.enable()


def _result(scene: Scene, name: str, fleet: Fleet, event_at: float) -> Result:
    vault, wanted = fleet.vault, fleet.wanted
    seconds = range(int(event_at), int(fleet.world.now))
    return Result(
        scene=scene,
        agent=name,
        steady=vault.rate(0, QUIET)[0] if event_at else _steady(name, fleet),
        peak=max(vault.arrivals[each] for each in seconds),
        looks=max(vault.probes[each] for each in seconds),
        peak_of_both=vault.rate(event_at, fleet.world.now)[1],
        halfway=wanted.halfway,
        whole=wanted.seconds,
        event_at=event_at,
        course=[vault.arrivals[at] + vault.probes[at] for at in range(int(fleet.world.now))],
    )


def _steady(name: str, fleet: Fleet) -> float:
    """Of a fleet of the same size that has settled."""
    other = Fleet(MAKES[name], len(fleet.agents), 7, fleet.vault.capacity)
    _quiet(other)
    return other.vault.rate(0, QUIET)[0]


# --- the scenes: each returns when what is measured begins ---------------------------------------


def _start(fleet: Fleet) -> float:
    fleet.want(lambda agent: agent.secrets)
    for agent in fleet.agents:
        agent.start()
    return 0.0


def _quiet(fleet: Fleet) -> None:
    for agent in fleet.agents:
        agent.settle()
    fleet.world.run(QUIET)


def _outage(fleet: Fleet, seconds: float) -> float:
    _quiet(fleet)
    fleet.vault.is_away = True
    fleet.world.run(QUIET + seconds)
    fleet.vault.is_away = False
    fleet.want(lambda agent: agent.behind())
    return fleet.world.now


def _changed(fleet: Fleet) -> float:
    _quiet(fleet)
    fleet.want(lambda agent: agent.secrets[:1])
    return fleet.world.now


def _rotated(fleet: Fleet) -> float:
    fleet.origin.rotates_at = QUIET
    _quiet(fleet)
    fleet.want(lambda agent: [each for each in agent.secrets if each.kind is Kind.STATIC_ROLE])
    return fleet.world.now


def _revoked(fleet: Fleet) -> float:
    _quiet(fleet)
    fleet.vault.epoch += 1
    fleet.want(lambda agent: agent.leased())
    return fleet.world.now


SCENES: dict[Scene, Callable[[Fleet], float]] = {
    Scene.START: _start,
    Scene.OUTAGE: lambda fleet: _outage(fleet, 600.0),
    Scene.SHORT_OUTAGE: lambda fleet: _outage(fleet, 60.0),
    Scene.CHANGED: _changed,
    Scene.ROTATED: _rotated,
    Scene.REVOKED: _revoked,
}
SKIPPED = {(Scene.ROTATED, "AWS agent"), (Scene.REVOKED, "AWS agent")}
"""It has no static roles, and no token that could be revoked."""

WATCHED = {
    Scene.START: 900.0,
    Scene.OUTAGE: 900.0,
    Scene.SHORT_OUTAGE: 600.0,
    Scene.CHANGED: 420.0,
    Scene.ROTATED: 180.0,
    Scene.REVOKED: 2700.0,
}
