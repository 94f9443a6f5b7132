"""When a book is written: at once, together, not too often; and what a bad disk costs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.core import events
from agent.core.backoff import Backoff
from agent.core.book import Book
from agent.core.events import Event
from agent.sealed.file import SealedBook
from agent.sealed.keeper import LATER_EVERY, LONGEST_SEAL, SOON_EVERY, Keeper, take_up
from tests.rig.clock import JumpClock
from tests.rig.kept import HOST, book, cache, opened
from tests.rig.waiting import eventually

CHANGED = events.SecretRead(secret="database", version="2", is_changed=True)
UNCHANGED = events.SecretRead(secret="database", version="2", is_changed=False)
RENEWED = events.LeaseRenewed(secret="database", ttl_seconds=60)


class SlowBook(SealedBook):
    """A real one, on a disk that can be made to hang."""

    def __init__(self, directory: Path) -> None:
        super().__init__(cache(directory), host=HOST)
        self.writes: list[Book] = []
        self.calls = 0
        self.may_write = threading.Event()
        self.may_write.set()
        self.begun = threading.Semaphore(0)

    def save(self, book: Book) -> int:
        self.calls += 1
        self.begun.release()
        assert self.may_write.wait(30)
        written = super().save(book)
        self.writes.append(book)
        return written


class Scene:
    """A keeper at work, and what it says."""

    def __init__(self, directory: Path, clock: JumpClock) -> None:
        self.clock, self.directory = clock, directory
        self.file = SlowBook(directory)
        self.said: list[Event] = []
        self.value = "first"
        self.keeper = Keeper(
            self.file,
            lambda: book(self.value),
            clock=clock,
            emit=self.said.append,
            backoff=Backoff(draw=lambda: 1.0),
        )

    async def kept(self) -> str:
        """The value on the disk."""
        now, wall = self.clock.now(), self.clock.wall()
        loaded = await asyncio.to_thread(self.file.load, now, wall)
        assert loaded is not None
        current = loaded.secrets["database"].current
        assert current is not None
        return str(current.fields["password"]).partition("-")[0]

    async def idle(self) -> None:
        """Until each write that was begun has been heard of, however busy the machine is."""
        await self.clock.settle()
        await eventually(lambda: self.file.calls == self.answers())
        await self.clock.settle()

    async def advance(self, seconds: float) -> None:
        """Let time pass, write by write."""
        end = self.clock.now() + seconds
        await self.idle()
        while (deadline := self.clock.next_deadline()) is not None and deadline <= end:
            await self.clock.advance(deadline - self.clock.now() + 1e-6)
            await self.idle()
        await self.clock.advance(end - self.clock.now())
        await self.idle()

    def answers(self) -> int:
        """How many writes have come to an end."""
        written = sum(isinstance(each, events.CacheWritten) for each in self.said)
        return written + sum(each.retry_after is not None for each in self.failures())

    def failures(self) -> list[events.CacheFailed]:
        return [each for each in self.said if isinstance(each, events.CacheFailed)]


@pytest.fixture
async def scene(memory_directory: Path, clock: JumpClock) -> AsyncIterator[Scene]:
    scene = Scene(memory_directory, clock)
    await asyncio.to_thread(scene.file.open)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(scene.keeper.run(), name="keeper")
        yield scene
        running.cancel()
    scene.file.close()


async def test_nothing_is_written_where_nothing_happens(scene: Scene) -> None:
    await scene.advance(3600)
    assert scene.file.writes == []


async def test_a_change_is_written_at_once_with_the_moment_of_writing(scene: Scene) -> None:
    await scene.advance(10)
    scene.keeper(CHANGED)
    await scene.idle()
    [written] = scene.file.writes
    assert (written.now, written.wall) == (scene.clock.now(), scene.clock.wall())
    assert await scene.kept() == "first"
    assert [type(each) for each in scene.said] == [events.CacheWritten]


async def test_changes_that_follow_are_written_together(scene: Scene) -> None:
    scene.keeper(CHANGED)
    await scene.idle()
    for number in range(50):
        scene.value = f"value{number}"
        scene.keeper(RENEWED)
        await scene.advance(SOON_EVERY / 100)
    assert len(scene.file.writes) == 1
    await scene.advance(SOON_EVERY)
    assert len(scene.file.writes) == 2 and await scene.kept() == "value49"


async def test_a_book_that_takes_its_time_is_written_less(scene: Scene) -> None:
    scene.file.may_write.clear()
    scene.keeper(CHANGED)
    await asyncio.to_thread(scene.file.begun.acquire)
    await scene.clock.suspend(2)
    scene.file.may_write.set()
    await eventually(lambda: scene.said)
    for _ in range(120):
        scene.keeper(RENEWED)
        await scene.advance(0.3)
    assert len(scene.file.writes) == 1
    await scene.advance(3)
    assert len(scene.file.writes) == 2


async def test_unchanged_reads_are_written_once_a_minute(scene: Scene) -> None:
    for _ in range(600):
        scene.keeper(UNCHANGED)
        await scene.advance(1)
    assert 600 / LATER_EVERY <= len(scene.file.writes) <= 600 / LATER_EVERY + 1


async def test_a_change_does_not_wait_for_the_minute_of_an_unchanged_read(scene: Scene) -> None:
    scene.keeper(UNCHANGED)
    await scene.advance(2)
    scene.keeper(UNCHANGED)
    await scene.advance(2)
    assert len(scene.file.writes) == 1
    scene.keeper(CHANGED)
    await scene.idle()
    assert len(scene.file.writes) == 2


@pytest.mark.parametrize(
    "event",
    [
        events.StoreDown(store="vault", reason="refused"),
        events.RequestDone(store="vault", operation="read", seconds=0.1, outcome="ok"),
        events.CacheWritten(bytes=1, seconds=0.1),
    ],
)
async def test_what_changes_nothing_is_not_written(scene: Scene, event: Event) -> None:
    scene.keeper(event)
    await scene.advance(600)
    assert scene.file.writes == []


async def test_sealed_means_a_write_that_began_after_the_call(scene: Scene) -> None:
    scene.file.may_write.clear()
    scene.keeper(CHANGED)
    await asyncio.to_thread(scene.file.begun.acquire)
    scene.value = "second"
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(scene.keeper.seal(), name=f"{n}") for n in range(20)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        scene.file.may_write.set()
    assert await scene.kept() == "second"
    assert len(scene.file.writes) == 2, "one for all who asked meanwhile"


async def test_a_disk_that_hangs_holds_up_nobody_for_long(scene: Scene) -> None:
    scene.file.may_write.clear()
    before = scene.clock.now()
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.keeper.seal(), name="seal")
        group.create_task(scene.keeper.seal(), name="seal too")
        await scene.clock.run_until(lambda: len(scene.failures()) == 2, within=60)
    assert scene.clock.now() - before == LONGEST_SEAL
    assert [each.is_news for each in scene.failures()] == [True, False]
    scene.file.may_write.set()
    await eventually(lambda: any(isinstance(each, events.CacheBack) for each in scene.said))


async def test_what_cannot_be_written_is_said_once_and_tried_again(scene: Scene) -> None:
    scene.directory.chmod(0o777)
    scene.keeper(CHANGED)
    await scene.advance(600)
    assert [each.is_news for each in scene.failures()[:3]] == [True, False, False]
    assert scene.failures()[0].level == events.ERROR and scene.failures()[1].level == events.DEBUG
    delays = [each.retry_after for each in scene.failures()]
    assert delays[:4] == [1, 2, 4, 8] and max(filter(None, delays)) == 60
    scene.directory.chmod(0o755)
    await scene.advance(61)
    assert await scene.kept() == "first"
    [back] = [each for each in scene.said if isinstance(each, events.CacheBack)]
    assert 600 < back.down_seconds < 661


async def test_changes_do_not_break_the_backoff(scene: Scene) -> None:
    scene.directory.chmod(0o777)
    for _ in range(600):
        scene.keeper(RENEWED)
        await scene.advance(1)
    assert len(scene.failures()) < 20
    scene.directory.chmod(0o755)


async def test_who_asks_to_seal_breaks_it(scene: Scene) -> None:
    scene.directory.chmod(0o777)
    scene.keeper(CHANGED)
    await scene.advance(100)
    scene.directory.chmod(0o755)
    scene.value = "second"
    async with asyncio.timeout(10):  # of real time; the clock stands still
        await scene.keeper.seal()
    assert await scene.kept() == "second"


async def test_a_failed_write_does_not_keep_anybody_waiting(scene: Scene) -> None:
    scene.directory.chmod(0o777)
    async with asyncio.timeout(10):  # of real time; the clock stands still
        await scene.keeper.seal()
    scene.directory.chmod(0o755)


async def test_a_new_reason_is_news(scene: Scene) -> None:
    scene.directory.chmod(0o777)
    scene.keeper(CHANGED)
    await scene.idle()
    scene.directory.chmod(0o755)
    (scene.directory / "cache").symlink_to("/nowhere")
    await scene.advance(2)
    assert [each.is_news for each in scene.failures()] == [True, True]


async def test_a_directory_that_goes_and_comes_back(scene: Scene) -> None:
    moved = scene.directory.rename(f"{scene.directory}-moved")
    scene.keeper(CHANGED)
    await scene.idle()
    [failed] = scene.failures()
    assert "No such file" in failed.reason
    moved.rename(scene.directory)
    await scene.advance(2)
    assert await scene.kept() == "first"


async def test_a_last_write_and_none_after_it(scene: Scene) -> None:
    scene.keeper(CHANGED)
    await scene.idle()
    scene.value = "last"
    await scene.keeper.close()
    assert await scene.kept() == "last"
    scene.value = "later"
    scene.keeper(CHANGED)
    await scene.keeper.seal()
    await scene.keeper.close()
    await scene.advance(120)
    assert await scene.kept() == "last" and len(scene.file.writes) == 2


async def test_a_last_write_that_fails_is_news_and_promises_no_other(scene: Scene) -> None:
    scene.directory.chmod(0o777)
    scene.keeper(CHANGED)
    await scene.idle()
    await scene.keeper.close()
    [first, last] = scene.failures()
    assert last.is_news and last.reason.startswith(first.reason)
    assert str(last).endswith("; the next run finds an older state, or none")
    scene.directory.chmod(0o755)


async def test_the_last_write_wins_over_one_that_was_given_up(
    tmp_path: Path, clock: JumpClock
) -> None:
    scene = Scene(tmp_path, clock)
    await asyncio.to_thread(scene.file.open)
    scene.file.may_write.clear()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(scene.keeper.run(), name="keeper")
        scene.keeper(CHANGED)
        await asyncio.to_thread(scene.file.begun.acquire)
        running.cancel()
    await clock.suspend(1)
    scene.value = "last"
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.keeper.close(), name="close")
        await asyncio.to_thread(scene.file.begun.acquire)
        scene.file.may_write.set()
    assert await scene.kept() == "last"
    scene.file.close()


async def test_nobody_waits_for_a_write_after_the_last(scene: Scene) -> None:
    scene.file.may_write.clear()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(scene.keeper.close(), name="close")
        await asyncio.to_thread(scene.file.begun.acquire)
        group.create_task(scene.keeper.seal(), name="seal")
        await asyncio.sleep(0)
        scene.file.may_write.set()
    assert len(scene.file.writes) == 1


async def test_what_was_kept_is_taken_up_and_said(tmp_path: Path, clock: JumpClock) -> None:
    said: list[Event] = []
    file = await asyncio.to_thread(opened, tmp_path)
    assert await take_up(file, clock=clock, emit=said.append) is None and said == []
    await asyncio.to_thread(file.save, book(now=clock.now() - 60))
    taken = await take_up(file, clock=clock, emit=said.append)
    assert taken is not None and taken.highest_revision() == 7
    assert str(said[0]) == "cache: 1 secret of 60 s ago"
    file.close()


async def test_what_is_refused_is_said_and_no_end(tmp_path: Path, clock: JumpClock) -> None:
    said: list[Event] = []
    (tmp_path / "cache").write_bytes(os.urandom(500))
    (tmp_path / "cache").chmod(0o600)
    file = await asyncio.to_thread(opened, tmp_path)
    assert await take_up(file, clock=clock, emit=said.append) is None
    [refused] = said
    assert isinstance(refused, events.CacheRefused) and refused.level == events.ERROR
    assert "is not an encrypted file of leasehold; set aside as" in str(refused)
    file.close()
