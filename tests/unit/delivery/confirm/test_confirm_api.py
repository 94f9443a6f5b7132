"""The app says by itself whether it works with a generation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.model import ConfirmApi
from agent.core.errors import ConfirmError
from agent.delivery.announcement import Announcement
from agent.delivery.confirm import confirmation
from agent.delivery.confirm.api import LONGEST_ERROR, AppsWord, printable
from tests.rig.clock import JumpClock


def news(generation: int) -> Announcement:
    return Announcement("web", Path("/run/web"), generation)


@pytest.fixture
def word(clock: JumpClock) -> AppsWord:
    made = confirmation(ConfirmApi(api=True, timeout=30.0), clock)
    assert isinstance(made, AppsWord)
    return made


async def test_a_yes_confirms_as_soon_as_it_is_said(clock: JumpClock, word: AppsWord) -> None:
    await word.prepare(news(7))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(word.confirm(news(7)))
        await clock.advance(10)
        assert not waiting.done()
        assert word.say(7, None)
        await clock.settle()
        assert waiting.done()


async def test_a_yes_before_the_question_counts(word: AppsWord) -> None:
    await word.prepare(news(7))
    assert word.say(7, None)
    await word.prepare(news(7))
    await word.confirm(news(7))


async def test_a_no_fails_at_once_and_is_marked_as_the_apps(word: AppsWord) -> None:
    await word.prepare(news(7))
    word.say(7, "can't log in\x1b[2J\nat all")
    with pytest.raises(ConfirmError, match=r"^app: it says: \"can't log in \[2J at all\"$"):
        await word.confirm(news(7))


async def test_a_no_counts_once(clock: JumpClock, word: AppsWord) -> None:
    await word.prepare(news(7))
    word.say(7, "not yet")
    with pytest.raises(ConfirmError, match="not yet"):
        await word.confirm(news(7))
    word.say(7, None)
    await word.confirm(news(7))


async def test_the_last_word_before_the_question_is_the_one(word: AppsWord) -> None:
    await word.prepare(news(7))
    word.say(7, "still starting")
    word.say(7, None)
    await word.confirm(news(7))


async def test_a_word_on_another_generation_is_none(clock: JumpClock, word: AppsWord) -> None:
    await word.prepare(news(7))
    assert not word.say(6, None) and not word.say(8, "no")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(outcome(word, 7))
        await clock.run_until(waiting.done, within=31)
    assert waiting.result() == "app: not confirmed within 30 s; it has said nothing"


async def test_what_was_said_before_the_way_back_does_not_count_after_it(
    clock: JumpClock, word: AppsWord
) -> None:
    """It confirmed 7, was given 8, and is given 7 again: it has to say so again."""
    await word.prepare(news(7))
    word.say(7, None)
    await word.prepare(news(8))
    await word.prepare(news(7))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(outcome(word, 7))
        await clock.run_until(waiting.done, within=31)
    assert waiting.result() != "confirmed"


async def outcome(word: AppsWord, generation: int) -> str:
    try:
        await word.confirm(news(generation))
    except ConfirmError as error:
        return str(error)
    return "confirmed"


@given(st.text(max_size=1000))
def test_nothing_that_an_app_says_is_more_than_a_short_line(text: str) -> None:
    shown = printable(text)
    assert len(shown) <= LONGEST_ERROR and shown.isprintable()
