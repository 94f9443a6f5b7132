"""The cross-check: a smaller fleet of the agent's own parts, on a loop with simulated time.

Nothing of the agent is replayed here: its Vault store with auto-auth, availability, budget and
preflight, its watchers and its ledger run as they are. Only the network is the model's. The same
scene is played with both; agents start one after the other over one refresh, as in a roll-out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import count
from typing import Any, cast

import msgspec

from agent.config.model import AppRole, Budget, SecretEntry, VaultStore
from agent.core.events import Event, LeaseRenewed, SecretRead
from agent.ledger import Ledger, State
from agent.stores.budget import Demand, budget_for
from agent.stores.vault.store import Vault as Store
from agent.stores.vault.transport import Connection
from agent.watcher import Watcher
from benchmarks.fleet.connection import ModelConnection
from benchmarks.fleet.load import MIX, REFRESH_EVERY, Kind, Origin, Terms, Wanted
from benchmarks.fleet.loop import LoopClock, LoopWorld, SimulatedLoop
from benchmarks.fleet.ours import Agent
from benchmarks.fleet.scenes import Fleet
from benchmarks.fleet.vault import Capacity, Vault
from tests.rig.stores import Changes

ROLLED_OUT = 2 * REFRESH_EVERY
AWAY_AT, BACK_AT, END = 900.0, 1500.0, 1800.0
BIN = 10
PATHS = {
    Kind.KV: "kv/app",
    Kind.STATIC_ROLE: "database/static-creds/app",
    Kind.LEASE: "database/creds/app",
    Kind.CERTIFICATE: "pki/issue/app",
}


class Found(msgspec.Struct, frozen=True):
    """Requests a second before the outage, the most in ten seconds after it, and the making up."""

    steady: float
    peak: float
    missed: int
    halfway: float | None

    @classmethod
    def of(cls, vault: Vault, wanted: Wanted, missed: int) -> Found:
        after = [vault.rate(at, at + BIN)[0] for at in range(int(BACK_AT), int(END), BIN)]
        return cls(vault.rate(ROLLED_OUT, AWAY_AT)[0], max(after), missed, wanted.halfway)


def capacity(size: int) -> Capacity:
    return Capacity(per_second=Capacity().per_second * size / 10_000)


def modelled(size: int, seed: int = 7) -> Found:
    """By the events of `ours`."""
    fleet = Fleet(Agent, size, seed, capacity(size))
    for number, agent in enumerate(fleet.agents):
        at = REFRESH_EVERY * number / size
        fleet.world.at(at, lambda each: cast(Agent, each).start(), agent)
    fleet.world.run(AWAY_AT)
    fleet.vault.is_away = True
    fleet.world.run(BACK_AT)
    fleet.vault.is_away = False
    fleet.want(lambda agent: agent.behind())
    missed = fleet.wanted.missing
    fleet.world.run(END)
    return Found.of(fleet.vault, fleet.wanted, missed)


def real(size: int, seed: int = 7) -> Found:
    """By the agent itself."""
    random.seed(seed)
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(_real(size))


class RealAgent:
    """A store and its watchers; `wanted` are the names of what is to be had."""

    def __init__(self, vault: Vault, origin: Origin, wanted: Wanted, clock: LoopClock) -> None:
        kinds = [kind for kind in Kind for _ in range(MIX[kind])]
        spec = VaultStore(auth=AppRole(role_id="role", secret_id="secret"), budget=Budget())
        demand = Demand(len(kinds), len(kinds) / REFRESH_EVERY)
        self._all, self._clock = wanted, clock
        self.wanted: set[str] = set()
        self.ledger = Ledger(clock)
        self.store = Store(
            "vault",
            spec,
            cast(Connection, ModelConnection(vault, origin, count())),
            budget=budget_for(spec.budget, demand, clock),
            clock=clock,
            changes=Changes(),
            emit=self.hear,
            draw=random.random(),  # noqa: S311
        )
        self.watchers = [self._watcher(f"s{number}", kind) for number, kind in enumerate(kinds)]

    def _watcher(self, name: str, kind: Kind) -> Watcher:
        data = {"common_name": "app"} if kind is Kind.CERTIFICATE else None
        spec = SecretEntry(store="vault", path=PATHS[kind], data=data)
        own: dict[str, Any] = {"clock": self._clock, "emit": self.hear}
        draw = random.random()  # noqa: S311
        return Watcher(name, spec, self.store, self.ledger, draw=draw, **own)

    def hear(self, event: Event) -> None:
        if isinstance(event, SecretRead | LeaseRenewed) and event.secret in self.wanted:
            self.wanted.discard(event.secret)
            self._all.had(self._clock.now())

    def behind(self) -> int:
        """Those that were due and not had are wanted from now on; how many."""
        entries = self.ledger.entries()
        self.wanted = {each.name for each in entries if each.state is not State.FRESH}
        return len(self.wanted)


async def _real(size: int) -> Found:
    clock, world, wanted, origin = LoopClock(), LoopWorld(), Wanted(), Origin(Terms())
    vault = Vault(world, capacity(size))
    agents: list[RealAgent] = []
    tasks: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as group:

        def start(run: Callable[[], Any]) -> None:
            tasks.append(group.create_task(run(), name="a part of an agent"))

        for number in range(size):
            await clock.sleep(REFRESH_EVERY * number / size - clock.now())
            agents.append(agent := RealAgent(vault, origin, wanted, clock))
            start(agent.store.run)
            for watcher in agent.watchers:
                start(watcher.run)
        await clock.sleep(AWAY_AT - clock.now())
        vault.is_away = True
        await clock.sleep(BACK_AT - clock.now())
        vault.is_away = False
        missed = sum(agent.behind() for agent in agents)
        wanted.begin(clock.now(), missed)
        await clock.sleep(END - clock.now())
        for task in tasks:
            task.cancel()
    return Found.of(vault, wanted, missed)
