"""A secret's value, and one reading of it.

A `Secret` prints as `<Secret 2 fields>`: it can stand in a log, a traceback or a failed assertion
without telling anything. Whoever needs the value asks for a field, or for `reveal()`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from agent.core.lease import Lease

Field = str | int | float | bool | None | bytes | list[Any] | dict[str, Any]


class Secret(Mapping[str, Field]):
    """Immutable fields by name. Values are what JSON has, or bytes."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = MappingProxyType(dict(fields))

    def __getitem__(self, name: str) -> Field:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._fields == other._fields

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret has no use that is safe

    def reveal(self) -> dict[str, Field]:
        """The fields, as a new dict."""
        return dict(self._fields)

    def __repr__(self) -> str:
        return f"<Secret {len(self)} field{'' if len(self) == 1 else 's'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Secret is not pickled")


class Reading(msgspec.Struct, frozen=True):
    """One answer of a store.

    `version` distinguishes one value from the next and may be shown. `lease` is None where the
    store promises nothing. `not_after` is a certificate's end as wall time. `read_again_after` is
    the store's own hint, in seconds (a static role says when it rotates next). `metadata` is the
    store's custom metadata, which may be shown. `envelope` is what the store's answer said beside
    the value, for a door that speaks the store's own protocol; nothing of the value is in it.
    """

    value: Secret
    version: str
    lease: Lease | None = None
    not_after: float | None = None
    read_again_after: float | None = None
    metadata: Mapping[str, str] = MappingProxyType({})
    envelope: bytes = b""
