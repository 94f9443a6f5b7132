"""Whatever apps, stores and tokens do, in any order: no lease is orphaned, none dies in use."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.events import SecretRefused
from tests.rig.clock import JumpClock
from tests.rig.scripted_store import ScriptedStore
from tests.unit.watcher.conftest import Watched

LONG = 1e6
LONGEST_REVOCATION = 11.0
STEPS = (
    "refresh",
    "refresh and take",
    "refresh and take",
    "take",
    "prove",
    "reject",
    "reject",
    "other takes",
    "other proves",
    "other rejects",
    "down",
    "back",
    "token lost",
    "wait",
    "wait long",
    "restart",
)


class Play:
    """One secret, two bundles, and whatever comes."""

    def __init__(self) -> None:
        self.clock = JumpClock(rounds=8)
        self.store = ScriptedStore(self.clock, ttl=LONG)
        self.leases: dict[int, str] = {}
        self.proven: dict[str, set[int]] = {"bundle": set(), "other": set()}
        self.held: dict[str, set[int]] = {"bundle": set(), "other": set()}
        self.may_read = 1
        self.told = 0
        self.start(Watched(self.clock, self.store))

    def start(self, watched: Watched) -> None:
        self.watched = watched
        for consumer in self.held:
            self.hold(consumer, self.held[consumer])
        self.task = asyncio.get_running_loop().create_task(watched.watcher.run())

    async def stop(self) -> None:
        assert not self.task.done(), self.task
        self.task.cancel()
        await asyncio.wait([self.task])

    def hold(self, consumer: str, revisions: set[int]) -> None:
        self.held[consumer] = revisions
        self.watched.ledger.hold(consumer, {"app": revisions})

    async def step(self, step: str) -> None:
        consumer = "other" if step.startswith("other") else "bundle"
        current = self.watched.entry.revision
        match step.removeprefix("other ").removesuffix("s"):
            case "refresh":
                await self.refresh()
            case "refresh and take":
                await self.refresh()
                await self.step("take")
            case "take" if self.watched.entry.is_usable:
                self.hold(consumer, self.proven[consumer] | {current})
            case "prove" if current in self.held[consumer]:
                self.proven[consumer] = {current}
                self.hold(consumer, {current})
            case "reject" if current in self.held[consumer] - self.proven[consumer]:
                self.hold(consumer, set(self.proven[consumer]))
                self.watched.ledger.reject("app", current, "not confirmed")
            case "down":
                self.store.goes_down()
            case "back":
                self.store.comes_back()
            case "token lost":
                self.may_read += 1
                self.store.loses_token()
            case "wait":
                await self.clock.advance(3)
            case "wait long":
                await self.clock.advance(400)
            case "restart":
                await self.restart()
        await self.clock.settle()
        self.look()

    async def refresh(self) -> None:
        self.may_read += 1
        self.watched.watcher.refresh()
        await self.clock.advance(1.1)

    async def restart(self) -> None:
        """By SIGKILL, with a book that is up to date."""
        await self.stop()
        kept = self.watched.watcher.kept()
        self.count_attempts()
        self.may_read += kept.current is None
        fresh = Watched(self.clock, self.store)
        self.told = 0
        fresh.ledger.continue_after(max(self.leases, default=0))
        fresh.watcher.restore(kept)
        self.start(fresh)

    def count_attempts(self) -> None:
        refused = len(self.watched.all(SecretRefused))
        self.may_read += refused - self.told
        self.told = refused

    def look(self) -> None:
        entry = self.watched.entry
        if entry.reading is not None and entry.reading.lease is not None:
            self.leases[entry.revision] = entry.reading.lease.id
            if entry.is_usable:
                assert entry.reading.lease.id in self.store.alive(), "usable means that it works"
        for consumer in self.proven.values():
            for revision in consumer:
                lease = self.leases[revision]
                assert (lease in self.store.alive()) == (
                    not lease.startswith(self.dead_tokens())
                ), "what an app uses is revoked by nobody"
        self.count_attempts()
        assert len(self.store.times("read")) <= self.may_read, "one for each attempt at most"

    def dead_tokens(self) -> tuple[str, ...]:
        parents = self.store.parents
        return tuple(f"{token}/" for token, parent in parents.items() if not parent.is_alive)

    async def end(self) -> None:
        """All is well again: what lives is current, or somebody's."""
        self.store.comes_back()
        await self.clock.advance(LONGEST_REVOCATION)
        self.look()
        in_use = {self.watched.entry.revision, *self.held["bundle"], *self.held["other"]}
        assert set(self.store.alive()) <= {self.leases[each] for each in in_use}
        assert self.watched.entry.is_usable
        await self.stop()
        assert await self.watched.watcher.give_up() == []
        assert self.store.alive() == []


async def play(steps: list[str]) -> None:
    playing = Play()
    await playing.clock.settle()
    playing.look()
    for step in steps:
        await playing.step(step)
    await playing.end()


@settings(max_examples=300)
@given(st.lists(st.sampled_from(STEPS), min_size=8, max_size=40))
def test_no_lease_is_orphaned_and_none_dies_in_use(steps: list[str]) -> None:
    asyncio.run(play(steps))
