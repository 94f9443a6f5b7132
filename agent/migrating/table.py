"""How a table of directives is written: each has a counterpart, or a reason and an advice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

MAPPED, OTHERWISE, HAND = "mapped", "otherwise", "by hand"


class Row(NamedTuple):
    """`text` is our key for what is mapped; else why it is not, and what to do instead."""

    name: str
    kind: str
    text: str


def mapped(name: str, ours: str) -> Row:
    """It becomes `ours`."""
    return Row(name, MAPPED, ours)


def otherwise(name: str, why: str) -> Row:
    """Nothing need be done about it."""
    return Row(name, OTHERWISE, why)


def by_hand(name: str, why: str) -> Row:
    """It is lost until somebody acts."""
    return Row(name, HAND, why)


def table(*rows: Row) -> dict[str, Row]:
    return {row.name: row for row in rows}


def markdown(rows: Iterable[Row], title: str) -> str:
    """The table as `docs/migrating.md` has it."""
    lines = [f"| {title} | | becomes, or what to do instead |", "| --- | --- | --- |"]
    for row in rows:
        text = f"`{row.text}`" if row.kind == MAPPED and " " not in row.text else row.text
        lines.append(f"| `{row.name}` | {row.kind} | {text} |".replace("  ", " "))
    return "\n".join(lines)
