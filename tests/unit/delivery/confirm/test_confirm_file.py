"""The app's proof in a file: that it touched one, or which generation it wrote there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config.model import ConfirmFile
from agent.core.clock import SystemClock
from agent.core.errors import ConfirmError
from agent.delivery.announcement import Announcement
from agent.delivery.confirm import Confirmation, confirmation
from agent.delivery.confirm.file import TouchedFile
from agent.delivery.generations.layout import generation_name
from tests.rig.clock import JumpClock

A_YEAR = 365 * 86400


def touch(file: Path, at: float | None = None) -> None:
    file.touch()
    if at is not None:
        os.utime(file, (at, at))


def replace_by_one_of(file: Path, at: float) -> None:
    other = file.with_suffix(".new")
    touch(other, at)
    other.replace(file)


def link(file: Path) -> None:
    """To a regular file that holds the generation."""
    (file.parent / "other").write_text("7")
    file.symlink_to("other")


def write(file: Path, content: str) -> None:
    file.write_text(content)


def announced(generation: int) -> Announcement:
    return Announcement("web", Path("/run/web"), generation)


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    return tmp_path / "ready"


@pytest.fixture
def old(ready: Path) -> Path:
    """It was there before, touched an hour ago."""
    touch(ready, 1e9)
    return ready


def by_file(file: Path, content: str = "any", *, timeout: float = 0.05) -> Confirmation:
    spec = ConfirmFile(file=file, content=content, timeout=timeout, every=0.05)  # type: ignore[arg-type]
    return confirmation(spec, SystemClock())


async def answer(way: Confirmation, generation: int) -> str:
    """ "confirmed", or the last answer."""
    try:
        await way.confirm(announced(generation))
    except ConfirmError as error:
        assert str(error).startswith("file /")
        return error.reason.partition("last answer: ")[2]
    return "confirmed"


# --- touched --------------------------------------------------------------------------------------


async def test_a_file_that_was_there_before_confirms_nothing(old: Path) -> None:
    way = by_file(old)
    await way.prepare(announced(7))
    assert await answer(way, 7) == "not touched since the announcement"
    touch(old)
    assert await answer(way, 7) == "confirmed"


async def test_a_file_that_appears_confirms(ready: Path) -> None:
    way = by_file(ready)
    await way.prepare(announced(7))
    assert await answer(way, 7) == "it is not there"
    touch(ready)
    assert await answer(way, 7) == "confirmed"


async def test_a_file_that_is_replaced_by_an_older_one_confirms(old: Path) -> None:
    """`cp -p` and `mv`: what is told is that it changed, not when."""
    way = by_file(old)
    await way.prepare(announced(7))
    replace_by_one_of(old, 1e9)
    assert await answer(way, 7) == "confirmed"


async def test_an_app_that_is_quicker_than_the_question_has_confirmed(old: Path) -> None:
    """It touches the file while it is told, or as soon as the files change."""
    way = by_file(old)
    await way.prepare(announced(7))
    touch(old)
    await way.prepare(announced(7))
    assert await answer(way, 7) == "confirmed"


async def test_a_touch_counts_for_one_generation(old: Path) -> None:
    way = by_file(old)
    for generation in (7, 6, 8):
        await way.prepare(announced(generation))
        assert await answer(way, generation) == "not touched since the announcement"
        touch(old)
        assert await answer(way, generation) == "confirmed"


@pytest.mark.parametrize("seconds", [-A_YEAR, A_YEAR])
async def test_a_wall_clock_that_is_set_between_changes_nothing(
    old: Path, clock: JumpClock, seconds: float
) -> None:
    question = TouchedFile(old, clock)
    clock.jump_wall(seconds)
    await question.prepare(announced(7))
    clock.jump_wall(-seconds)
    assert await question.ask(announced(7), 1) is not None
    touch(old)
    assert await question.ask(announced(7), 1) is None


async def test_a_touch_just_before_does_not_hide_one_just_after(ready: Path) -> None:
    """The kernel's clock ticks a few hundred times a second."""
    way = by_file(ready)
    for generation in range(10):
        touch(ready)
        await way.prepare(announced(generation))
        touch(ready)
        assert await answer(way, generation) == "confirmed"


async def test_a_touch_is_seen_while_it_is_waited_for(old: Path) -> None:
    way = by_file(old, timeout=10)
    await way.prepare(announced(7))
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(answer(way, 7))
        asyncio.get_running_loop().call_later(0.1, touch, old)
    assert asking.result() == "confirmed"


async def test_without_anything_seen_before_only_what_comes_now_counts(old: Path) -> None:
    touch(old)
    assert await answer(by_file(old), 7) == "not touched since the announcement"


# --- what is no proof -----------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["any", "generation"])
@pytest.mark.parametrize("make", [link, os.mkfifo, os.mkdir])
async def test_what_is_no_regular_file_confirms_nothing(
    ready: Path, content: str, make: Callable[[Path], None]
) -> None:
    way = by_file(ready, content)
    await way.prepare(announced(7))
    make(ready)
    assert await answer(way, 7) == "it is no regular file"


async def test_a_folder_that_is_none_is_said(ready: Path) -> None:
    touch(ready)
    assert await answer(by_file(ready / "ready"), 7) == "can't be looked at: Not a directory"


# --- its content ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("7", "confirmed"),
        ("..gen-000007\n", "confirmed"),
        ("6\n", "generation 6, wanted 7"),
        ("..gen-000070", "generation 70, wanted 7"),
        ("", "it holds no generation"),
        ("hunter2", "it holds no generation"),
        ("7 hunter2", "it holds no generation"),
        ("7" + " " * 100, "it holds no generation"),
    ],
)
async def test_the_generation_confirms_whenever_it_was_written(
    ready: Path, content: str, expected: str
) -> None:
    write(ready, content)
    way = by_file(ready, "generation")
    await way.prepare(announced(7))
    assert await answer(way, 7) == expected


async def test_it_is_what_the_directorys_link_says(ready: Path) -> None:
    """An app can copy it from where it reads its files."""
    write(ready, generation_name(7))
    assert await answer(by_file(ready, "generation"), 7) == "confirmed"
