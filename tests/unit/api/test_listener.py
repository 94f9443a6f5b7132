"""Who is let in, who is not, and that one user can't take another's place."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from agent.api.access import Rules
from agent.api.caller import ON_TCP, Caller
from agent.api.identity import LARGEST_PROGRAM
from agent.api.listener import Listener
from agent.config.listener_model import (
    AnyListener,
    ApiRule,
    Limits,
    SecretsListener,
    VaultListener,
)
from agent.core.clock import Clock, SystemClock
from agent.core.events import Advice, ConnectionRefused, Event, ListenerClosed, ListenerOpened
from tests.rig.clock import JumpClock
from tests.rig.descriptors import open_descriptors
from tests.rig.needs import needs_program, needs_root
from tests.rig.peers import open_folder, peer
from tests.rig.processes import free_port
from tests.rig.waiting import eventually

HOSTILE, OTHER = 54321, 54322


class Echo(asyncio.Protocol):
    """Says back what it hears; `wait…` is answered once the doorway says `go`."""

    def __init__(self, doorway: Doorway, caller: Caller) -> None:
        self.doorway, self.caller = doorway, caller
        self.heard = b""
        self.is_lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data
        if self.heard.startswith(b"wait"):
            self.doorway.waiting.append(self)
        else:
            self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True


class Doorway:
    def __init__(self) -> None:
        self.all: list[Echo] = []
        self.waiting: list[Echo] = []
        self.is_closed = False

    def __call__(self, caller: Caller) -> Echo:
        self.all.append(Echo(self, caller))
        return self.all[-1]

    def close(self) -> None:
        self.is_closed = True
        for each in self.all:
            if each not in self.waiting:
                each.transport.close()

    def go(self) -> None:
        for each in self.waiting:
            each.transport.write(b"done")
            each.transport.close()


class Scene:
    """A listener that runs, what it tells and whom it lets in."""

    def __init__(self, spec: AnyListener, clock: Clock) -> None:
        self.events: list[Event] = []
        self.doorway = Doorway()
        self.rules = Rules(spec.allow)
        self.listener = Listener(
            spec, self.rules, self.doorway, clock=clock, emit=self.events.append
        )
        self.task: asyncio.Task[None] | None = None

    def told(self, kind: type[Event]) -> list[Any]:
        return [each for each in self.events if isinstance(each, kind)]

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])


@pytest.fixture
def folder() -> Iterator[Path]:
    needs_root()
    with open_folder() as path:
        yield path


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "s.sock"


def names(path: Path) -> list[str]:
    return [each.name for each in path.parent.iterdir()]


def inode_of(path: Path) -> int:
    return path.stat().st_ino


def on(path: Path | str, *, mode: int = 0o666, **limits: Any) -> SecretsListener:
    return SecretsListener(socket=str(path), mode=mode, limits=Limits(**limits))


@asynccontextmanager
async def listening(spec: AnyListener, clock: Clock | None = None) -> AsyncIterator[Scene]:
    scene = Scene(spec, clock or SystemClock())
    scene.task = asyncio.create_task(scene.listener.run())
    waiting = asyncio.create_task(scene.listener.listening.wait())
    await asyncio.wait([scene.task, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if scene.task.done():
            scene.task.result()
        yield scene
    finally:
        await scene.stop()


async def test_a_caller_is_who_the_kernel_says(path: Path) -> None:
    async with listening(on(path)) as scene, peer(OTHER, 7001, [7002, 7003]) as other:
        assert await other.ask(await other.do("connect", str(path)), "hello") == "hello"
        (echo,) = scene.doorway.all
        caller = echo.caller
        assert (caller.uid, caller.gid) == (OTHER, 7001)
        assert caller.groups == {7002, 7003}
        assert caller.pid == other.pid and caller.is_local_socket
        assert caller.executable == str(Path(sys.executable).resolve())  # noqa: ASYNC240


async def test_an_abstract_socket_and_tcp_are_doors_too(folder: Path) -> None:
    async with listening(on(f"@{folder}", mode=0o660)) as scene, peer(OTHER) as other:
        assert await other.ask(await other.do("connect", f"@{folder}"), "hello") == "hello"
        assert scene.doorway.all[0].caller.uid == OTHER
    port = free_port()
    async with listening(VaultListener(address=f"127.0.0.1:{port}")) as scene:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        assert [each.caller for each in scene.doorway.all] == [ON_TCP]


async def test_who_may_not_open_the_file_does_not_get_in(path: Path) -> None:
    async with listening(on(path, mode=0o600)), peer(OTHER) as other:
        assert await other.do("connect", str(path)) == {"error": "PermissionError"}


def test_uvloop_is_no_different(path: Path) -> None:
    async def story() -> None:
        async with listening(on(path, per_user=2)) as scene, peer(OTHER) as other:
            assert await _one_answer(other, path) == "hello"
            await other.do("hold", str(path), 5)
            await eventually(lambda: len(scene.doorway.all) == 3)
            assert await other.do("still_open", 5) == 2
            assert scene.doorway.all[0].is_lost
            assert scene.doorway.all[1].caller.pid == other.pid
        assert all(each.is_lost for each in scene.doorway.all)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


async def test_one_too_many_of_a_user_is_closed_and_others_are_served(path: Path) -> None:
    async with listening(on(path, per_user=8)) as scene, peer(HOSTILE) as hostile:
        await hostile.do("hold", str(path), 50)
        await eventually(lambda: len(scene.doorway.all) == 8)
        assert await hostile.do("still_open", 50) == 8
        async with peer(OTHER) as other:
            assert await other.ask(await other.do("connect", str(path)), "hello") == "hello"
        first, *_ = scene.told(ConnectionRefused)
        assert (first.uid, first.limit, first.number) == (HOSTILE, "per_user", 1)
        assert len(scene.told(ConnectionRefused)) == 1
    assert scene.told(ConnectionRefused)[-1].number == 41


async def test_where_all_is_full_the_greediest_makes_room(path: Path) -> None:
    async with listening(on(path, connections=10, per_user=10)) as scene, peer(HOSTILE) as hostile:
        await hostile.do("hold", str(path), 10)
        await eventually(lambda: len(scene.doorway.all) == 10)
        async with peer(OTHER) as other:
            numbers = [await other.do("connect", str(path)) for _ in range(5)]
            assert [await other.ask(each, "hello") for each in numbers] == ["hello"] * 5
            assert await hostile.do("still_open", 10) == 5
            assert scene.listener.connections == 10
            sixth = await other.do("connect", str(path))
            assert await other.do("read", sixth) == ""
        assert scene.told(ConnectionRefused)[0].limit == "connections"
        await eventually(lambda: scene.listener.connections == 5)


async def test_a_hundred_thousand_connections_of_one_user_hold_up_nobody_else(path: Path) -> None:
    async with (
        listening(on(path, per_user=16)) as scene,
        peer(HOSTILE) as holder,
        peer(HOSTILE) as flooder,
        peer(OTHER) as other,
    ):
        await holder.do("hold", str(path), 100)
        await flooder.begin("flood", str(path), 100_000)
        answers = [await _one_answer(other, path) for _ in range(100)]
        assert answers == ["hello"] * 100
        assert await flooder.answer() == 100_000
        await eventually(lambda: scene.listener.connections <= 16)
        assert await _one_answer(other, path) == "hello"
        assert sum(each.number for each in scene.told(ConnectionRefused)) <= 100_084
        assert len(scene.told(ConnectionRefused)) < 20


async def _one_answer(other: Any, path: Path) -> str:
    number = await other.do("connect", str(path))
    answer: str = await other.ask(number, "hello")
    await other.do("close", number)
    return answer


async def test_without_descriptors_it_waits_and_goes_on(path: Path, clock: JumpClock) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with listening(on(path), clock) as scene, peer(OTHER) as other:
        highest = max(int(each) for each in open_descriptors())
        fillers: list[socket.socket] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                while True:
                    fillers.append(socket.socket(socket.AF_UNIX))
            number = await other.do("connect", str(path))
            await eventually(lambda: scene.told(Advice))
        finally:
            for each in fillers:
                each.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "Too many open files" in scene.told(Advice)[0].text
        await other.begin("send", number, "hello")
        await other.answer()
        await clock.run_until(lambda: scene.doorway.all, within=1.0)
        assert await other.do("read", number) == "hello"
        assert len(scene.told(Advice)) == 1


async def test_the_end_lets_answers_under_way_be_sent(path: Path) -> None:
    async with listening(on(path)) as scene, peer(OTHER) as other:
        waiting = await other.do("connect", str(path))
        await other.do("send", waiting, "wait")
        idle = await other.do("connect", str(path))
        assert await other.ask(idle, "hello") == "hello"
        await eventually(lambda: scene.doorway.waiting)
        stopping = asyncio.create_task(scene.stop())
        assert await other.do("read", idle) == ""
        assert names(path) == [] and not stopping.done()
        scene.doorway.go()
        assert await other.do("read", waiting) == "done"
        await stopping
    assert [type(each) for each in scene.events] == [ListenerOpened, ListenerClosed]


async def test_after_the_grace_it_ends_whoever_is_left(path: Path, clock: JumpClock) -> None:
    async with listening(on(path), clock) as scene, peer(OTHER) as other:
        waiting = await other.do("connect", str(path))
        await other.do("send", waiting, "wait")
        await eventually(lambda: scene.doorway.waiting)
        stopping = asyncio.create_task(scene.stop())
        await eventually(lambda: scene.doorway.is_closed)
        await clock.advance(4.9)
        assert not stopping.done()
        await clock.advance(0.2)
        await stopping
        assert await other.do("read", waiting) == ""
        assert scene.doorway.all[0].is_lost


async def test_rules_change_in_place(path: Path) -> None:
    async with listening(on(path)) as scene, peer(OTHER) as other:
        number = await other.do("connect", str(path))
        assert await other.ask(number, "one") == "one"
        inode = inode_of(path)
        allow = (ApiRule(user=str(OTHER), secrets=("*",)),)
        changed = SecretsListener(socket=str(path), mode=0o666, allow=allow, limits=Limits())
        rules = Rules(allow)
        scene.listener.reconfigure(changed, rules)
        assert scene.listener.rules is rules and inode_of(path) == inode
        assert await other.ask(number, "two") == "two"


async def test_a_new_rule_by_hash_has_callers_come_again(path: Path) -> None:
    async with listening(on(path)) as scene, peer(OTHER) as other:
        number = await other.do("connect", str(path))
        assert await other.ask(number, "one") == "one"
        assert scene.doorway.all[0].caller.sha256 is None
        allow = (ApiRule(user=str(OTHER), sha256="0" * 64, secrets=("*",)),)
        spec = SecretsListener(socket=str(path), mode=0o666, allow=allow, limits=Limits())
        scene.listener.reconfigure(spec, Rules(allow))
        assert await other.do("read", number) == ""
        assert await _one_answer(other, path) == "hello"
        assert len(scene.doorway.all[1].caller.sha256 or "") == 64


async def test_large_programs_of_one_user_keep_nobody_waiting(folder: Path) -> None:
    needs_program("/usr/bin/python3")
    path, programs = folder / "s.sock", [folder / f"app{number}" for number in range(5)]
    for each in programs:
        shutil.copy("/usr/bin/python3", each)
        os.truncate(each, LARGEST_PROGRAM)
    allow = (ApiRule(sha256="0" * 64, secrets=("*",)),)
    spec = SecretsListener(socket=str(path), mode=0o666, allow=allow)
    async with listening(spec) as scene, peer(OTHER) as other, AsyncExitStack() as stack:
        hostile = [
            await stack.enter_async_context(peer(HOSTILE, program=[str(each)])) for each in programs
        ]
        for one in hostile:
            await one.do("connect", str(path))
        assert await _one_answer(other, path) == "hello"
        assert scene.doorway.all[-1].caller.uid == OTHER
        assert len(scene.doorway.all) < len(hostile)
        await eventually(lambda: len(scene.doorway.all) == len(hostile) + 1, within=60)
        assert {len(each.caller.sha256 or "") for each in scene.doorway.all} == {64}


async def test_rules_that_match_nobody_are_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # To a kernel, any option that it does not have is the same.
    monkeypatch.setattr("agent.api.identity.SO_PEERPIDFD", 9999)
    allow = (
        ApiRule(user="no-such-user", secrets=("*",)),
        ApiRule(unit="app.service", secrets=("*",)),
    )
    spec = SecretsListener(socket=str(path), mode=0o666, allow=allow)
    async with listening(spec) as scene, peer(OTHER) as other:
        absent, old = [each.text for each in scene.told(Advice)]
        assert absent == "there is no user no-such-user: its rule matches nobody"
        assert old.startswith("this kernel tells only users and groups")
        assert await _one_answer(other, path) == "hello"
        assert scene.doorway.all[0].caller == Caller(uid=OTHER, gid=OTHER)


async def test_an_end_amid_a_flood_leaves_nothing_behind(path: Path) -> None:
    async with peer(HOSTILE) as hostile:
        before = open_descriptors()
        async with listening(on(path)) as scene:
            await hostile.begin("flood", str(path), 1_000_000)
            await eventually(lambda: len(scene.doorway.all) > 50)
        assert await hostile.answer() in (
            {"error": "ConnectionRefusedError"},
            {"error": "FileNotFoundError"},
            {"error": "ConnectionResetError"},
        )
        assert scene.listener.connections == 0
        await eventually(lambda: open_descriptors() == before)


async def test_no_descriptor_is_left_over(path: Path) -> None:
    async with peer(OTHER) as other:
        before = open_descriptors()
        async with listening(on(path, per_user=4)) as scene:
            await other.do("hold", str(path), 20)
            await other.do("flood", str(path), 200)
            await eventually(lambda: scene.listener.connections == 4)
        await eventually(lambda: open_descriptors() == before)
