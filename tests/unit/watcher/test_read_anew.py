"""Somebody waits for a read that begins after the wish for it."""

from __future__ import annotations

import asyncio

from agent.core.errors import Denied, Outage
from tests.rig.clock import JumpClock
from tests.rig.scripted_store import ScriptedStore
from tests.unit.watcher.conftest import Watch


async def test_returns_once_the_store_has_answered(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        waiting = asyncio.ensure_future(watched.watcher.read_anew(clock.now() + 10))
        await clock.settle()
        assert not waiting.done(), "the last read was just now"
        await clock.advance(2)
        assert await waiting and watched.number == 2


async def test_many_wishes_are_one_read(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        deadline = clock.now() + 10
        waiting = [asyncio.ensure_future(watched.watcher.read_anew(deadline)) for _ in range(100)]
        await clock.advance(2)
        assert all([await each for each in waiting]) and watched.number == 2


async def test_a_refusal_is_an_answer_too(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        store.fail("read", error=Denied)
        waiting = asyncio.ensure_future(watched.watcher.read_anew(clock.now() + 10))
        await clock.advance(2)
        assert await waiting and watched.entry.kind == "denied"


async def test_not_longer_than_the_deadline(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:

        def hang(asked: object) -> object:
            return asyncio.Event().wait()

        store.before = hang  # type: ignore[assignment]
        waiting = asyncio.ensure_future(watched.watcher.read_anew(clock.now() + 10))
        await clock.advance(11)
        assert await waiting is False


async def test_while_the_store_can_not_be_had_nobody_waits(clock: JumpClock, watch: Watch) -> None:
    store = ScriptedStore(clock, ttl=100)
    async with watch(store) as watched:
        store.trouble = Outage("read", "store", "path", "down")
        assert await watched.watcher.read_anew(clock.now() + 10) is False
