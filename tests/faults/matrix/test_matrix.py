"""The fault matrix: one test for each cell. Cells of one fault are lived through side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.matrix.cells import CELLS, FAULTS, Cell
from tests.faults.matrix.course import live
from tests.rig.bao_client import Bao, BaoError
from tests.rig.postgres import Postgres

SIDE_BY_SIDE = 12
LONGEST = 400
"""Seconds for all cells of one fault: the first test of them waits for all."""

Outcomes = dict[Cell, str | AssertionError]


@pytest.fixture(scope="session")
def outcomes() -> Outcomes:
    """Of the cells that were lived through until now, in this process."""
    return {}


def params() -> list[Any]:
    """Each fault's cells stay in one process."""
    groups = {fault: pytest.mark.xdist_group(f"matrix-{fault}") for fault in FAULTS}
    return [pytest.param(cell, id=str(cell), marks=groups[cell.fault]) for cell in CELLS]


@pytest.mark.timeout(LONGEST)
@pytest.mark.parametrize("cell", params())
async def test_cell(
    cell: Cell,
    bao: Bao,
    postgres: Postgres,
    outcomes: Outcomes,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    if cell not in outcomes:
        await live_through(wanted(request, cell), bao, postgres, outcomes)
    happened = outcomes[cell]
    if isinstance(happened, AssertionError):
        raise happened
    record_property("outcome", happened)


def wanted(request: pytest.FixtureRequest, cell: Cell) -> list[Cell]:
    """The cells with the same fault that this run asks for."""
    asked = [getattr(item, "callspec", None) for item in request.session.items]
    cells = [each.params.get("cell") for each in asked if each is not None]
    return [each for each in cells if isinstance(each, Cell) and each.fault == cell.fault]


async def live_through(cells: list[Cell], bao: Bao, postgres: Postgres, into: Outcomes) -> None:
    """So many at once; what fails in one is kept for its own test."""
    free = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(cell: Cell) -> None:
        async with free:
            try:
                into[cell] = await live(cell, bao, postgres, group)
            except AssertionError as failed:
                into[cell] = failed
            except (BaoError, OSError) as failed:
                into[cell] = AssertionError(f"{cell}: {failed}")

    async with asyncio.TaskGroup() as group:
        for cell in cells:
            group.create_task(one(cell), name=str(cell))
