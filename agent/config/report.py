"""Every problem in one report: `file.yaml:12: bundles.app.mode: what is wrong; what is permitted`.

What stands in a file may be quoted; what came from the environment may not, nor a credential.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

KeyPath = tuple[str | int, ...]

MAX_QUOTED = 60
MAX_NAMES = 20
MAX_COMPARED = 1000
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Place(NamedTuple):
    """Where something stands; lines from 1, 0 for the file as a whole."""

    file: str
    line: int


class Unfit(Exception):
    """A scalar that can't be what is wanted; the text is the message's."""


class Report:
    """Problems and warnings; given out by file in the order read, then by line."""

    def __init__(self) -> None:
        self._problems: list[tuple[Place, str]] = []
        self._warnings: list[tuple[Place, str]] = []
        self._ranks: dict[str, int] = {}

    def file(self, name: str) -> None:
        """A file is about to be read."""
        self._ranks.setdefault(name, len(self._ranks))

    def problem(self, place: Place, path: KeyPath, text: str) -> None:
        self._problems.append((place, _line(place, path, text)))

    def warning(self, place: Place, path: KeyPath, text: str) -> None:
        self._warnings.append((place, _line(place, path, text)))

    def unknown_key(self, place: Place, path: KeyPath, key: str, known: Collection[str]) -> None:
        self.problem(place, path, f"unknown key {quoted(key)}{permitted(key, known)}")

    @property
    def problems(self) -> list[str]:
        return self._in_order(self._problems)

    @property
    def warnings(self) -> list[str]:
        return self._in_order(self._warnings)

    def _in_order(self, found: list[tuple[Place, str]]) -> list[str]:
        last = len(self._ranks)
        found = sorted(found, key=lambda each: (self._ranks.get(each[0].file, last), each[0].line))
        return list(dict.fromkeys(text for _, text in found))


def key_path(path: KeyPath) -> str:
    """`bundles.app.files["app.env"].secrets[0]`"""
    return "".join(_step(each) for each in path).removeprefix(".")


def quoted(text: str) -> str:
    """In double quotes, on one line, and not too long."""
    cut = text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"
    escaped = json.dumps(cut, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in escaped)


def permitted(wrong: str, known: Collection[str]) -> str:
    """`; did you mean "files"? permitted: files, mode`, of what there is."""
    near = nearest(wrong, known)
    meant = f"; did you mean {quoted(near)}?" if near else ";"
    return f"{meant} permitted: {listed(known)}" if known else "; there is none"


def nearest(wrong: str, known: Collection[str]) -> str | None:
    """The known name that may have been meant; of a great many, none is looked for."""
    if len(known) > MAX_COMPARED:
        return None
    return next(iter(difflib.get_close_matches(wrong[:MAX_QUOTED], known, n=1)), None)


def listed(names: Iterable[str]) -> str:
    """The names; of very many, the first."""
    names = list(names)
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{quoted(step)}]"


def _line(place: Place, path: KeyPath, text: str) -> str:
    where = f"{place.file}:{place.line}: " if place.line else f"{place.file}: "
    return where + (f"{key_path(path)}: {text}" if path else text)
