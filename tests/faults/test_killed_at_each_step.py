"""SIGKILL at each step of a bundle's transaction, and of what the vault and the cache are told.

Whenever it comes: the files hold a credential that works, the next run goes on, and once it has
rotated the vault holds exactly the lease in use; at its end, nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.killed.course import live
from tests.faults.killed.points import CELLS, Cell
from tests.rig.bao_client import Bao, BaoError
from tests.rig.postgres import Postgres

SIDE_BY_SIDE = 8
HALVES = 2
"""Groups of cells, one for each process of a run."""
LONGEST = 300
"""Seconds for all cells of one group: the first test of them waits for all."""

Outcomes = dict[Cell, AssertionError | None]


@pytest.fixture(scope="session")
def outcomes() -> Outcomes:
    """Of the cells that were lived through until now, in this process."""
    return {}


def group_of(cell: Cell) -> int:
    return CELLS.index(cell) % HALVES


def params() -> list[Any]:
    groups = [pytest.mark.xdist_group(f"killed-{half}") for half in range(HALVES)]
    return [pytest.param(each, id=str(each), marks=groups[group_of(each)]) for each in CELLS]


@pytest.mark.timeout(LONGEST)
@pytest.mark.parametrize("cell", params())
async def test_cell(
    cell: Cell, bao: Bao, postgres: Postgres, outcomes: Outcomes, request: pytest.FixtureRequest
) -> None:
    if cell not in outcomes:
        await live_through(wanted(request, cell), bao, postgres, outcomes)
    if (failed := outcomes[cell]) is not None:
        raise failed


def wanted(request: pytest.FixtureRequest, cell: Cell) -> list[Cell]:
    """The cells of the same group that this run asks for."""
    asked = [getattr(item, "callspec", None) for item in request.session.items]
    cells = [each.params.get("cell") for each in asked if each is not None]
    return [each for each in cells if isinstance(each, Cell) and group_of(each) == group_of(cell)]


async def live_through(cells: list[Cell], bao: Bao, postgres: Postgres, into: Outcomes) -> None:
    """So many at once; what fails in one is kept for its own test."""
    free = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(cell: Cell) -> None:
        async with free:
            try:
                into[cell] = await attempt(lambda: live(cell, bao, postgres))
            except (BaoError, OSError) as failed:
                into[cell] = AssertionError(f"{cell}: {failed!r}")

    async with asyncio.TaskGroup() as group:
        for cell in cells:
            group.create_task(one(cell), name=str(cell))


async def attempt(life: Callable[[], Any]) -> AssertionError | None:
    try:
        await life()
    except AssertionError as failed:
        return failed
    return None
