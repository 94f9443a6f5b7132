"""A generation that is not worth waiting for: its values end, and newer ones are there.

An app that is slow to reload or to confirm, or never does, must not be kept on a credential that
dies. Half-way from the arrival of the next one to the end of this one, the next one has its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from agent.core.clock import Clock
from agent.core.errors import AgentError
from agent.delivery.revisions import Revisions
from agent.ledger import Ledger

OUTLIVED = "not done before its values came near their end; newer ones are there"

T = TypeVar("T")
Ask = Callable[[], Awaitable[T]]


async def unless_outlived(
    ask: Ask[T], revisions: Revisions, ledger: Ledger, clock: Clock, outlived: AgentError
) -> T:
    """Tell or ask the app about a generation that is made of these revisions.

    `outlived` is raised if a newer value is to have its turn; what `ask` raises otherwise.
    """
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(_asked(ask), name="asking the app")
        ending = group.create_task(_outlived(revisions, ledger, clock), name="end of its values")
        await asyncio.wait((asking, ending), return_when=asyncio.FIRST_COMPLETED)
        is_asked = asking.done()
        asking.cancel()
        ending.cancel()
    if not is_asked:
        raise outlived
    answer = asking.result()
    if isinstance(answer, AgentError):
        raise answer
    return answer


async def _asked(ask: Ask[T]) -> T | AgentError:
    try:
        return await ask()
    except AgentError as error:
        return error


async def _outlived(revisions: Revisions, ledger: Ledger, clock: Clock) -> None:
    """Return once the first of them is to make room."""
    wake = asyncio.Event()
    with ledger.subscribe(revisions, wake):
        while True:
            wake.clear()
            turns = [_turn_of_the_next(ledger, *each) for each in revisions.items()]
            turn = min((each for each in turns if each is not None), default=None)
            if turn is not None and turn <= clock.now():
                return
            await clock.wait(wake, turn)


def _turn_of_the_next(ledger: Ledger, name: str, revision: int) -> float | None:
    """When the newer value is to be published; None: there is none, or this one has no end."""
    entry, ends_at = ledger.entry(name), ledger.ends_at(name, revision)
    if entry.revision == revision or not entry.is_usable or entry.read_at is None:
        return None
    return None if ends_at is None else (entry.read_at + ends_at) / 2
