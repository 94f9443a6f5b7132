"""Blocking work that is never left half done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def whole(function: Callable[..., T], *arguments: object) -> T:
    """Run a blocking function in a thread, to its end even if we are cancelled meanwhile."""
    running = asyncio.get_running_loop().run_in_executor(None, function, *arguments)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
