"""The secrets that templates ask for: one entry, and a good name, for each path and parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs

import msgspec

from agent.config.scalars import TEMPLATE_WORDS

_TAKEN = TEMPLATE_WORDS | {"range", "dict", "namespace", "for", "set", "with", "import", "include"}
_DULL = frozenset(("data", "creds", "issue", "sign", "static-creds", "cert", "encrypt", "decrypt"))
_API = re.compile(r"[^/]+/data/.+")
_REFERENCE = re.compile(r"\$\{[^}]*\}")


class Wanted(msgspec.Struct):
    """One entry. `fields_of_kv` and `fields_of_all` tell how templates looked at its answer."""

    name: str
    path: str
    data: dict[str, str] | None
    version: int | None
    places: list[str] = msgspec.field(default_factory=list)
    fields_of_kv: bool = False
    fields_of_all: bool = False

    @property
    def is_kv2_by_path(self) -> bool:
        return self.data is None and _API.fullmatch(self.path) is not None


class SecretBook:
    """All entries of one import. Names of secrets and of templates' own variables never meet."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, tuple[tuple[str, str], ...] | None, int | None], Wanted] = {}
        self._names: set[str] = set()
        self._locals: set[str] = set()

    @property
    def entries(self) -> list[Wanted]:
        return list(self._entries.values())

    def secret(self, written: str, parameters: Mapping[str, str] | None, place: str) -> Wanted:
        """The entry for a path, perhaps with `?version=`. Both may hold `${NAME}`."""
        path, version = _split(written)
        pairs = None if parameters is None else tuple(sorted(parameters.items()))
        entry = self._entries.get((path, pairs, version))
        if entry is None:
            data = None if parameters is None else dict(parameters)
            entry = Wanted(self._name(path), path, data, version)
            self._entries[path, pairs, version] = entry
        if place not in entry.places:
            entry.places.append(place)
        return entry

    def local(self, wanted: str) -> str:
        """A name for a variable of a template, near to the wanted one."""
        name = _free(_identifier(wanted) or "value", self._names | _TAKEN)
        self._locals.add(name)
        return name

    def _name(self, path: str) -> str:
        name = _free(_name_of(path), self._names | self._locals | _TAKEN)
        self._names.add(name)
        return name


def _split(written: str) -> tuple[str, int | None]:
    path, _, query = written.strip().partition("?")
    version = parse_qs(query).get("version", [""])[-1]
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
    return path.strip("/ "), number or None


def _name_of(path: str) -> str:
    """`secret/data/shop/db` → shop_db, `database/creds/app` → database_app, `kv/app` → app."""
    mount, *rest = [step for step in _REFERENCE.sub("", path).split("/") if step] or ["secret"]
    steps = [step for step in rest if step not in _DULL]
    is_kv = rest[:1] == ["data"] or len(rest) == len(steps)
    return _identifier("_".join(steps if is_kv and steps else [mount, *steps])) or "secret"


def _identifier(text: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    return plain.lower() if plain[:1].isalpha() else f"s_{plain.lower()}" if plain else ""


def _free(name: str, taken: Iterable[str]) -> str:
    number, found = 2, name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found
