"""Waiting for what happens outside of the test's process: always for something, never for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

EVERY = 0.02


async def eventually(predicate: Callable[[], object], *, within: float = 10.0) -> None:
    """Look until `predicate()`, without holding up the loop; AssertionError after `within`."""
    try:
        async with asyncio.timeout(within):
            while not predicate():  # noqa: ASYNC110  # it is outside of this process
                await asyncio.sleep(EVERY)
    except TimeoutError:
        raise AssertionError(f"not so within {within:g} s: {predicate}") from None


async def another_second() -> None:
    """OpenBao counts in whole seconds, and nobody asks it twice in one: let the next one begin."""
    await asyncio.sleep(1.1)
