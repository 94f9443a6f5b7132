"""What rendering sees of secrets: `Held` comes in, templates look at it through a `Scope`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from agent.core.clock import rfc3339
from agent.core.secret import Reading
from agent.rendering.text import Fault, listed, nearest, text_or_binary


class Held(msgspec.Struct, frozen=True):
    """One secret as it is held now; `expires_at` is wall time in seconds, or None."""

    reading: Reading
    expires_at: float | None = None


class View(Mapping[str, Any]):
    """Named values as templates see them: fields, and nothing but fields.

    `title` says in errors whose fields these are. Bytes that are UTF-8 are text.
    """

    __slots__ = ("_fields", "title")

    def __init__(self, title: str, fields: Mapping[str, Any]) -> None:
        self.title = title
        self._fields = fields

    def __getitem__(self, name: str) -> Any:
        value = self._fields[name]
        return text_or_binary(value) if isinstance(value, bytes) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"<{self.title}>"

    def __str__(self) -> str:
        raise Fault(f"{self.title} is not one value ({listed(self)}): name a field, or use tojson")

    def field(self, name: str) -> Any:
        """The value, or a Fault that names what there is."""
        if name not in self._fields:
            raise Fault(self.lack(name))
        return self[name]

    def lack(self, name: str | None) -> str:
        """Why there is no such field; None where its name may not be told."""
        wanted = "such field" if name is None else f'field "{name}"'
        there = f"it has {listed(self)}" if self._fields else "it has none"
        advice = "" if name is None else nearest(name, self)
        if name in ("items", "keys", "values", "get"):
            advice = f"; to go over its fields, write {self.title} | items"
        return f"{self.title} has no {wanted} ({there}){advice}"


class Scope:
    """What one rendering may look at: secrets and environment, of one moment."""

    def __init__(self, held: Mapping[str, Held], environment: Mapping[str, str]) -> None:
        self._held = held
        self._environment = environment

    def require(self, uses: Iterable[tuple[str, int]]) -> None:
        """A Fault for the first line that uses a secret which is not held."""
        missing = [(line, name) for name, line in uses if name not in self._held]
        if missing:
            line, name = min(missing)
            raise Fault(self._lack(name), line)

    def secret(self, name: str) -> View:
        """The fields of a secret."""
        return View(name, self._reading(name).reading.value)

    def meta(self, name: str) -> View:
        """What is known about a secret; all of it may be shown."""
        held = self._reading(name)
        reading = held.reading
        fields = {
            "version": reading.version,
            "expires_at": None if held.expires_at is None else rfc3339(held.expires_at),
            "lease_id": reading.lease.id if reading.lease else None,
            "custom_metadata": View(f"custom_metadata of {name}", reading.metadata),
        }
        return View(f"meta of {name}", fields)

    def env(self, name: str, default: object = None) -> object:
        """An environment variable; unset without a default is a Fault."""
        value = self._environment.get(name, default)
        if value is None:
            raise Fault(
                f'environment variable {name} is not set; env("{name}", "") allows for that'
            )
        return value

    def _reading(self, name: str) -> Held:
        if name not in self._held:
            raise Fault(self._lack(name))
        return self._held[name]

    def _lack(self, name: str) -> str:
        return f'there is no secret "{name}"{nearest(name, self._held)}'
