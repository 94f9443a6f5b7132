"""What every task of the agent has in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def forever(run: Callable[[], Awaitable[None]], name: str) -> None:
    """Run what never returns; if it does, that is a bug and is said."""
    await run()
    raise RuntimeError(f"{name} came to an end by itself")


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel the task, and return once it has ended."""
    task.cancel()
    await asyncio.wait([task])
