"""The outcomes of a whole matrix as docs/reliability.md shows them, between two marks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.faults.matrix.cells import CELLS, FAULTS, Cell, Operation, Phase

BEGIN = "<!-- matrix: written by `make test-faults` -->"
END = "<!-- /matrix -->"

TITLES = {
    Phase.START: "At the start",
    Phase.STEADY: "In steady state",
    Phase.ROTATION: "During a rotation",
}


def is_complete(outcomes: Mapping[str, str]) -> bool:
    """There is one for every cell; by the cells' names."""
    return all(str(cell) in outcomes for cell in CELLS)


def rendered(outcomes: Mapping[str, str]) -> str:
    """Markdown: a table for each phase, a row for each fault, a column for each operation."""
    return "\n".join(_table(phase, outcomes) for phase in Phase)


def _table(phase: Phase, outcomes: Mapping[str, str]) -> str:
    columns = [operation.replace("-", " ") for operation in Operation]
    lines = [
        f"### {TITLES[phase]}",
        "",
        _row("fault", columns),
        _row("---", ["---"] * len(columns)),
    ]
    for fault in FAULTS:
        cells = [outcomes[str(Cell(fault, operation, phase))] for operation in Operation]
        lines.append(_row(fault.replace("-", " "), cells))
    return "\n".join([*lines, ""])


def _row(first: str, rest: list[str]) -> str:
    return f"| {' | '.join([first, *rest])} |"


def write_into(page: Path, outcomes: Mapping[str, str]) -> None:
    """Put the tables between the marks of the page; an unchanged outcome changes no byte."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, f"{page} has no place for the matrix"
    fresh = f"{before}{BEGIN}\n\n{rendered(outcomes)}\n{END}{after}"
    if fresh != text:
        page.write_text(fresh)
