"""Real files, real links, the real kernel: the watch is told of what a path leads to."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from agent.core.clock import SystemClock
from agent.core.events import Advice, Event
from agent.file_watch import FileWatch, way
from tests.rig.clock import JumpClock
from tests.rig.waiting import eventually

STEP_SECONDS = 0.03
TOLD_WITHIN = 10.0
"""Less than files are looked at in any case: what is told in this time, the kernel told."""

NEVER_AFTER = 10 * STEP_SECONDS
"""Seconds in which a change would have been told."""


@asynccontextmanager
async def watching(files: FileWatch) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        run = tasks.create_task(files.run(), name="file watch")
        try:
            yield
        finally:
            run.cancel()


def unexpected(event: Event) -> None:
    pytest.fail(str(event))


@pytest.fixture
async def files() -> AsyncIterator[FileWatch]:
    watch = FileWatch(SystemClock(), emit=unexpected, step_seconds=STEP_SECONDS)
    async with watching(watch):
        yield watch


async def told(event: asyncio.Event, within: float = TOLD_WITHIN) -> bool:
    """The event is set in time; it is then clear again."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await event.wait()
    was_set = event.is_set()
    event.clear()
    return was_set


async def established(files: FileWatch, directory: Path) -> None:
    """The kernel watches `directory`: a change there has been told."""
    probe = directory / "probe"
    with files.watch(probe) as event:
        probe.write_text("0")
        while not await told(event):
            probe.write_text(os.urandom(4).hex())


def replace(path: Path, content: str) -> None:
    candidate = path.with_name(f".{path.name}.new")
    candidate.write_text(content)
    candidate.replace(path)


def test_the_way_to_a_plain_file_is_its_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert way(f"{tmp_path}/file") == {str(tmp_path)}


def test_the_way_through_links_has_the_directory_of_each(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "c/file").touch()
    (tmp_path / "b/link").symlink_to("../c")
    (tmp_path / "a/entry").symlink_to(tmp_path / "b/link/file")
    expected = {str(tmp_path / name) for name in ("a", "b", "c")}
    assert way(f"{tmp_path}/a/entry") == expected


def test_the_way_that_breaks_off_ends_where_there_is_something(tmp_path: Path) -> None:
    assert way(f"{tmp_path}/not/yet/there") == {str(tmp_path)}


def test_the_way_to_a_directory_has_itself_and_its_parent(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    expected = {str(tmp_path / "conf.d"), str(tmp_path)}
    assert way(f"{tmp_path}/conf.d/../conf.d/.") == expected


def test_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    assert way(f"{tmp_path}/one") == {str(tmp_path)}


async def test_a_file_written_in_place_is_told(files: FileWatch, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with files.watch(path) as changed:
        await established(files, tmp_path)
        assert not changed.is_set()
        path.write_text("new")
        assert await told(changed)


async def test_a_file_replaced_by_a_rename_is_told_each_time(
    files: FileWatch, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with files.watch(path) as changed:
        await established(files, tmp_path)
        for content in ("new", "newer"):
            replace(path, content)
            assert await told(changed)


async def test_a_changed_neighbour_is_not_told(files: FileWatch, tmp_path: Path) -> None:
    path, neighbour = tmp_path / "file", tmp_path / "neighbour"
    path.write_text("same")
    with files.watch(path) as changed, files.watch(neighbour) as neighbour_changed:
        await established(files, tmp_path)
        neighbour.write_text("new")
        assert await told(neighbour_changed)
        assert not changed.is_set()


async def test_a_kubernetes_volume_that_swaps_its_data_is_told(
    files: FileWatch, tmp_path: Path
) -> None:
    def publish(generation: str, content: str) -> None:
        (tmp_path / generation).mkdir()
        (tmp_path / generation / "token").write_text(content)
        (tmp_path / "..data_tmp").symlink_to(generation)
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    publish("..2026_1", "one")
    (tmp_path / "token").symlink_to("..data/token")
    with files.watch(tmp_path / "token") as changed:
        await established(files, tmp_path)
        for number in (2, 3):
            publish(f"..2026_{number}", "new")
            assert await told(changed)


async def test_a_link_swapped_in_another_directory_is_told(
    files: FileWatch, tmp_path: Path
) -> None:
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "file").write_text(version)
    (tmp_path / "links").mkdir()
    (tmp_path / "links/current").symlink_to(tmp_path / "v1")
    (tmp_path / "entry").symlink_to("links/current/file")
    with files.watch(tmp_path / "entry") as changed:
        await established(files, tmp_path)
        (tmp_path / "links/next").symlink_to(tmp_path / "v2")
        (tmp_path / "links/next").replace(tmp_path / "links/current")
        assert await told(changed)
        replace(tmp_path / "v2/file", "v2, again")
        assert await told(changed)


async def test_a_file_in_a_directory_made_later_is_told(files: FileWatch, tmp_path: Path) -> None:
    path = tmp_path / "later/still/file"
    with files.watch(path) as changed:
        await established(files, tmp_path)
        path.parent.mkdir(parents=True)
        assert not await told(changed, NEVER_AFTER)
        path.write_text("here")
        assert await told(changed)
        replace(path, "changed")
        assert await told(changed)


async def test_a_directory_deleted_and_made_again_is_followed(
    files: FileWatch, tmp_path: Path
) -> None:
    path = tmp_path / "folder/file"
    path.parent.mkdir()
    path.write_text("old")
    with files.watch(path) as changed:
        await established(files, tmp_path / "folder")
        for leftover in path.parent.iterdir():
            leftover.unlink()
        path.parent.rmdir()
        assert await told(changed)
        path.parent.mkdir()
        path.write_text("again")
        assert await told(changed)
        replace(path, "changed")
        assert await told(changed)


async def test_a_new_file_in_a_watched_directory_is_told(files: FileWatch, tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    with files.watch(folder) as changed:
        await established(files, tmp_path)
        (folder / "more.yaml").touch()
        assert await told(changed)


async def test_a_change_is_told_at_the_usual_pace(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files = FileWatch(SystemClock(), emit=unexpected)
    with files.watch(path) as changed:
        async with watching(files):
            await established(files, tmp_path)
            path.touch()
            assert await told(changed)


async def test_a_change_before_the_watch_stands_is_told(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    files = FileWatch(SystemClock(), emit=unexpected, step_seconds=STEP_SECONDS)
    with files.watch(path) as changed:
        path.write_text("newer")
        async with watching(files):
            assert await told(changed)


async def test_what_is_no_longer_watched_is_not_told(files: FileWatch, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with files.watch(path) as changed:
        await established(files, tmp_path)
    with files.watch(path) as other:
        path.touch()
        assert await told(other)
    assert not changed.is_set()


async def test_one_of_several_paths_is_enough(files: FileWatch, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    with files.watch(*paths) as changed:
        await established(files, tmp_path)
        paths[1].touch()
        assert await told(changed)


@contextmanager
def few_descriptors(free: int) -> Iterator[None]:
    """No more than `free` further descriptors can be had, and with one no inotify."""
    gc.collect()  # what earlier tests have left would give descriptors back amid this one
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open("/", os.O_PATH | os.O_CLOEXEC))
        for _ in range(free):
            os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_inotify_files_are_looked_at_and_it_is_said_once(tmp_path: Path) -> None:
    import watchfiles

    assert watchfiles
    path = tmp_path / "file"
    path.write_text("old")
    clock, events = JumpClock(), list[Event]()
    files = FileWatch(clock, emit=events.append, step_seconds=STEP_SECONDS)
    with few_descriptors(free=2), files.watch(path) as changed:
        async with watching(files):
            await eventually(lambda: events)
            path.write_text("newer")
            # a thread that is slow misses turns of the clock
            await clock.run_until(changed.is_set, within=60)
            changed.clear()
            await clock.advance(200)
            assert not changed.is_set()
    assert [type(event) for event in events] == [Advice]
    assert "max_user_instances" in str(events[0])


async def test_the_kernel_is_asked_again_after_a_while(tmp_path: Path) -> None:
    path = tmp_path / "file"
    clock, events = JumpClock(), list[Event]()
    files = FileWatch(clock, emit=events.append, step_seconds=STEP_SECONDS)
    with files.watch(path) as changed:
        async with watching(files):
            with few_descriptors(free=2):
                await eventually(lambda: events)
            for _ in range(5):  # a thread that is slow misses a turn of the clock
                await clock.advance(61)
                changed.clear()
                path.touch()
                if await told(changed, within=3.0):  # the clock stands still: only the kernel can
                    return
            raise AssertionError("only ever looked at")
