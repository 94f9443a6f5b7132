"""A block of HCL as it is used up: what nobody took is looked up in the table, and said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agent.migrating.findings import Findings
from agent.migrating.hcl import Item, Object
from agent.migrating.table import HAND, MAPPED, Row

_GO_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h|d))+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 0.001, "s": 1.0}
_SECONDS |= {"m": 60.0, "h": 3600.0, "d": 86400.0}
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


class Section:
    """`name` is what the table calls it. Of a key that is there several times the last counts."""

    def __init__(
        self, item: Object, name: str, table: Mapping[str, Row], findings: Findings
    ) -> None:
        self.name, self.line = name, item.line
        self._items, self._table, self._findings = item.items, table, findings
        self._taken: set[str] = set()

    def has(self, key: str) -> bool:
        return any(each.key == key for each in self._items)

    def line_of(self, key: str) -> int:
        item = self._last(key)
        return item.line if item else self.line

    # --- values: None where the key isn't there, or has no value of the kind, which is said ------

    def text(self, key: str) -> str | None:
        """A text; a number as it is written."""
        value = self._value(key)
        if isinstance(value, str) and "\0" not in value:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        self._unfit(key, value, "a text")
        return None

    def flag(self, key: str) -> bool | None:
        value = self._value(key)
        word = str(value).lower() if isinstance(value, str | bool | int) else ""
        if word in (*_TRUE, *_FALSE):
            return word in _TRUE
        self._unfit(key, value, "true or false")
        return None

    def number(self, key: str) -> float | None:
        value = self._value(key)
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
            value = float(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        self._unfit(key, value, "a number")
        return None

    def seconds(self, key: str) -> float | None:
        """A number of seconds, or as Go writes durations."""
        value = self._value(key)
        seconds = seconds_of(value)
        if seconds is None:
            self._unfit(key, value, "a duration")
        return seconds

    def words(self, key: str) -> tuple[str, ...] | None:
        """A text, or a list of them."""
        value = self._value(key)
        words = [value] if isinstance(value, str) else value
        if isinstance(words, list) and all(isinstance(each, str) for each in words):
            return tuple(words)
        self._unfit(key, value, "a text or a list of texts")
        return None

    def raw(self, key: str) -> object:
        """Whatever it is."""
        return self._value(key)

    # --- blocks ---------------------------------------------------------------------------------

    def has_block(self, key: str) -> bool:
        item = self._last(key)
        return item is not None and isinstance(item.value, Object)

    def sections(self, key: str, *, labelled: bool = False) -> list[tuple[str, Section]]:
        """All blocks of this key with their labels, which in JSON a mapping has (`labelled`)."""
        self._taken.add(key)
        found: list[tuple[str, Section]] = []
        for item in self._items:
            if item.key == key and isinstance(item.value, Object):
                label, inner = _label(item, labelled)
                found.append((label, self._inside(key, inner)))
            elif item.key == key:
                self._unfit(key, item.value, "a block")
        return found

    def section(self, key: str) -> Section | None:
        found = self.sections(key)
        return found[-1][1] if found else None

    def _inside(self, key: str, inner: Object) -> Section:
        name = f"{self.name}.{key}" if self.name else key
        return Section(inner, name, self._table, self._findings)

    # --- what is said -----------------------------------------------------------------------------

    def take(self, *keys: str) -> None:
        """These have been seen to."""
        self._taken.update(keys)

    def take_all(self) -> None:
        self._taken.update(each.key for each in self._items)

    def tell(self, key: str, line: int | None = None) -> None:
        """What the table has for a key that is there."""
        self._taken.add(key)
        line = self.line_of(key) if line is None else line
        name = f"{self.name}.{key}" if self.name else key
        row = self._table.get(name)
        if row is None:
            why = "is no directive that is known here; see what it does, and whether it is needed"
            self._findings.by_hand(line, name, why)
        elif row.kind == HAND:
            self._findings.by_hand(line, name, row.text)
        elif row.kind == MAPPED:  # by the table; here there was no place for it
            self._findings.by_hand(line, name, f"was not taken over; it belongs to {row.text}")
        else:
            self._findings.note(line, name, row.text)

    def tell_rest_as(self, key: str) -> None:
        """Say one thing of everything that was not taken."""
        if any(each.key not in self._taken for each in self._items):
            self.tell(key)
        self.take_all()

    def rest(self) -> None:
        """Say what was not taken, here and in blocks that nobody asked for."""
        for item in self._items:
            if item.key in self._taken:
                continue
            name = f"{self.name}.{item.key}" if self.name else item.key
            is_known_inside = any(each.startswith(f"{name}.") for each in self._table)
            if isinstance(item.value, Object) and name not in self._table and is_known_inside:
                self._inside(item.key, item.value).rest()
            else:
                self.tell(item.key)

    # --- inside -----------------------------------------------------------------------------------

    def _last(self, key: str) -> Item | None:
        return next((each for each in reversed(self._items) if each.key == key), None)

    def _value(self, key: str) -> Any:
        self._taken.add(key)
        item = self._last(key)
        return item.value if item else None

    def _unfit(self, key: str, value: object, wanted: str) -> None:
        if value is not None:
            name = f"{self.name}.{key}" if self.name else key
            self._findings.by_hand(self.line_of(key), name, f"is not {wanted}; left out")


def seconds_of(value: object) -> float | None:
    """A number of seconds, or a duration of Go."""
    if isinstance(value, str) and _GO_DURATION.fullmatch(value):
        return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        return float(value)
    return None


def _label(item: Item, labelled: bool) -> tuple[str, Object]:
    if item.labels:
        return item.labels[0], item.value
    match item.value.items:
        case [Item(key, (), Object() as inner)] if labelled:
            return key, inner
    return "", item.value
