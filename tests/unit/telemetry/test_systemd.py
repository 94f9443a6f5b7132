"""sd_notify, to a socket of ours in place of the service manager's."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from agent.core.clock import monotonic_usec
from agent.core.events import Ready, Reloaded, Reloading, ReloadRefused, RequestDone, Stopping
from agent.core.events import StoreDown as Down
from agent.telemetry.systemd import Systemd
from tests.rig.clock import JumpClock

READY = Ready(seconds=0.2)
RELOADED = Reloaded(added=[], changed=[], removed=[])
NEWS = Down(store="vault", reason="gone")


class Manager:
    """What the service manager receives."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """All messages since the last call."""
        messages = []
        with suppress(BlockingIOError):
            while True:
                messages.append(self._socket.recv(4096).decode())
        return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


class Summary:
    """A summary that can be changed."""

    def __init__(self) -> None:
        self.text = "12 secrets fresh"

    def __call__(self) -> str:
        return self.text


@pytest.fixture
def summary() -> Summary:
    return Summary()


def make(summary: Summary, clock: JumpClock, path: Path, **environment: str) -> Systemd:
    return Systemd(
        summary, clock, environment={"NOTIFY_SOCKET": str(path / "notify"), **environment}
    )


@asynccontextmanager
async def running(systemd: Systemd) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(systemd.run(), name="systemd")
        yield
        task.cancel()


async def test_ready_and_stopping_are_said_at_once(
    summary: Summary, clock: JumpClock, manager: Manager, tmp_path: Path
) -> None:
    systemd = make(summary, clock, tmp_path)
    systemd(READY)
    systemd(Stopping(reason="SIGTERM"))
    assert manager.heard() == [
        "READY=1\nSTATUS=12 secrets fresh",
        "STOPPING=1\nSTATUS=stopping: SIGTERM",
    ]


@pytest.mark.parametrize("end", [RELOADED, ReloadRefused(problems=["x"])])
@pytest.mark.parametrize("is_begin_said", [True, False])
async def test_a_reload_has_a_beginning_with_its_time_and_an_end(
    summary: Summary,
    clock: JumpClock,
    manager: Manager,
    tmp_path: Path,
    end: Reloaded | ReloadRefused,
    is_begin_said: bool,
) -> None:
    systemd = make(summary, clock, tmp_path)
    systemd(READY)
    manager.heard()
    before = monotonic_usec()
    if is_begin_said:
        systemd(Reloading(reason="SIGHUP"))
    systemd(end)
    begin, ready = manager.heard()
    reloading, _, instant = begin.partition("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert before <= int(instant) <= monotonic_usec()
    assert ready == "READY=1\nSTATUS=12 secrets fresh"


async def test_a_reload_before_the_agent_is_ready_does_not_make_it_so(
    summary: Summary, clock: JumpClock, manager: Manager, tmp_path: Path
) -> None:
    systemd = make(summary, clock, tmp_path)
    systemd(Reloading(reason="SIGHUP"))
    systemd(RELOADED)
    assert manager.heard() == []


async def test_status_follows_the_news_once_a_second_and_only_if_it_differs(
    summary: Summary, clock: JumpClock, manager: Manager, tmp_path: Path
) -> None:
    systemd = make(summary, clock, tmp_path)
    async with running(systemd):
        for _ in range(100):
            systemd(NEWS)
        await clock.settle()
        assert manager.heard() == ["STATUS=12 secrets fresh"]
        summary.text = "11 secrets fresh,\n1 stale"
        systemd(NEWS)
        await clock.advance(0.5)
        assert manager.heard() == []
        await clock.advance(0.5)
        assert manager.heard() == ["STATUS=11 secrets fresh, 1 stale"]
        systemd(NEWS)
        systemd(RequestDone(store="vault", operation="read", seconds=0.1, outcome="ok"))
        await clock.advance(10)
        assert manager.heard() == []


async def test_nothing_is_done_while_there_is_no_news(
    summary: Summary, clock: JumpClock, manager: Manager, tmp_path: Path
) -> None:
    async with running(make(summary, clock, tmp_path)):
        await clock.settle()
        assert clock.next_deadline() is None


async def test_after_stopping_the_status_stays(
    summary: Summary, clock: JumpClock, manager: Manager, tmp_path: Path
) -> None:
    systemd = make(summary, clock, tmp_path)
    async with running(systemd):
        systemd(Stopping(reason="SIGTERM"))
        await clock.advance(10)
    assert manager.heard() == ["STOPPING=1\nSTATUS=stopping: SIGTERM"]


async def test_signs_of_life_twice_in_the_watchdogs_time(
    summary: Summary, clock: JumpClock, manager: Manager, tmp_path: Path
) -> None:
    systemd = make(
        summary, clock, tmp_path, WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getpid())
    )
    async with running(systemd):
        await clock.advance(65)
        assert manager.heard() == ["WATCHDOG=1"] * 6
        assert systemd.is_ticking()


@pytest.mark.parametrize("usec", [2_000_000, 300_000])
async def test_signs_of_life_are_in_time_whatever_happens(
    summary: Summary, clock: JumpClock, manager: Manager, tmp_path: Path, usec: int
) -> None:
    systemd = make(summary, clock, tmp_path, WATCHDOG_USEC=str(usec))
    last, step = clock.now(), usec / 1e6 / 7
    async with running(systemd):
        for number in range(100):
            summary.text = f"news {number}"
            systemd(NEWS)
            await clock.advance(step)
            if "WATCHDOG=1" in manager.heard():
                last = clock.now()
            assert clock.now() - last < usec / 1e6


async def test_a_loop_that_does_not_get_to_it_is_not_ticking(
    summary: Summary, clock: JumpClock, manager: Manager, tmp_path: Path
) -> None:
    systemd = make(summary, clock, tmp_path, WATCHDOG_USEC="20000000")
    assert systemd.is_ticking()
    await clock.advance(20)
    assert not systemd.is_ticking()


@pytest.mark.parametrize(
    "watchdog", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}]
)
async def test_no_signs_of_life_where_nobody_watches_this_process(
    summary: Summary, clock: JumpClock, manager: Manager, tmp_path: Path, watchdog: dict[str, str]
) -> None:
    systemd = make(summary, clock, tmp_path, **{"WATCHDOG_USEC": "20000000", **watchdog})
    async with running(systemd):
        await clock.advance(100)
    assert manager.heard() == []
    assert systemd.is_ticking()


async def test_an_abstract_socket_will_do(summary: Summary, clock: JumpClock) -> None:
    manager = Manager(f"\0leasehold-test-{os.getpid()}")
    systemd = Systemd(
        summary, clock, environment={"NOTIFY_SOCKET": f"@leasehold-test-{os.getpid()}"}
    )
    systemd(READY)
    assert manager.heard() == ["READY=1\nSTATUS=12 secrets fresh"]
    manager.close()


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nobody/there"}])
async def test_without_a_service_manager_nothing_fails(
    summary: Summary, clock: JumpClock, environment: dict[str, str]
) -> None:
    systemd = Systemd(summary, clock, environment=environment)
    async with running(systemd):
        for event in (READY, RELOADED, NEWS, Stopping(reason="x")):
            systemd(event)
        await clock.advance(10)
    assert systemd.is_ticking()
