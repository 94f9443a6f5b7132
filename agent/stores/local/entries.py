"""What the local store holds, as values: entries by name, each with its last versions. Pure.

As JSON (which only ever exists encrypted):

    {"entries": {"app": {"versions": [
        {"number": 1, "created_at": 1780000000.0,
         "fields": {"password": "…", "blob": {"base64": "…"}}}
    ]}}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from agent.core.clock import rfc3339

KEPT_VERSIONS = 10
MAX_FIELD_NAME = 256
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class _Redacted:
    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Blob(_Redacted, msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes that are no text."""

    base64: bytes


Value = str | bytes


class Version(_Redacted, msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One state of an entry; `created_at` is wall time."""

    number: int
    created_at: float
    fields: dict[str, str | Blob]

    def values(self) -> dict[str, Value]:
        """The fields as text or bytes."""
        return {
            name: value.base64 if isinstance(value, Blob) else value
            for name, value in self.fields.items()
        }


class Entry(_Redacted, msgspec.Struct, forbid_unknown_fields=True):
    """The last versions of one name, oldest first; never empty."""

    versions: list[Version]

    @property
    def current(self) -> Version:
        return self.versions[-1]

    def version(self, number: int) -> Version | None:
        """The version of that number, if it is still kept."""
        return next((each for each in self.versions if each.number == number), None)

    def change(self, fields: dict[str, str | Blob], created_at: float) -> Version:
        """A new version with these fields; the oldest go."""
        new = Version(self.current.number + 1, created_at, fields)
        self.versions = [*self.versions, new][-KEPT_VERSIONS:]
        return new


class Entries(_Redacted, msgspec.Struct, forbid_unknown_fields=True):
    """All of a store's entries, by name."""

    entries: dict[str, Entry] = {}

    def set(self, name: str, field: str, value: Value, created_at: float) -> Version:
        """A new version of the entry, in which this field has this value."""
        kept = Blob(value) if isinstance(value, bytes) else value
        entry = self.entries.get(name)
        if entry is None:
            self.entries[name] = entry = Entry([Version(1, created_at, {field: kept})])
            return entry.current
        return entry.change({**entry.current.fields, field: kept}, created_at)

    def remove_field(self, name: str, field: str, created_at: float) -> None:
        """A new version without the field, or no entry where it was the last one."""
        entry = self.entries[name]
        left = {key: value for key, value in entry.current.fields.items() if key != field}
        if left:
            entry.change(left, created_at)
        else:
            del self.entries[name]

    def encode(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self)


def decode(payload: bytes) -> Entries:
    """The reverse of `encode`; `ValueError`, without the content, for anything else."""
    try:
        entries = msgspec.json.decode(payload, type=Entries)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ValueError("does not hold entries of a local store") from None
    if not all(each.versions for each in entries.entries.values()):
        raise ValueError("holds an entry without a version")
    return entries


def split(target: str) -> tuple[str, str | None]:
    """`NAME` or `NAME.FIELD`, taken apart; `ValueError` says what a name may be."""
    name, dot, field = target.partition(".")
    if not NAME.fullmatch(name):
        raise ValueError("a name is a letter, then letters, digits, `_` and `-`")
    if dot and not (field.isprintable() and 0 < len(field) <= MAX_FIELD_NAME):
        raise ValueError(f"a field's name is 1 to {MAX_FIELD_NAME} printable characters")
    return name, field if dot else None


def shown(fields: Mapping[str, str | Blob]) -> bytes:
    """The fields as JSON for people and programs; bytes as `{"base64": …}`."""
    return msgspec.json.format(msgspec.json.encode(fields), indent=2)


def listed(entries: Entries) -> bytes:
    """Names, fields, versions and times as JSON, by name; no value."""
    rows = [
        {
            "name": name,
            "fields": list(entry.current.fields),
            "version": entry.current.number,
            "changed_at": rfc3339(entry.current.created_at),
            "versions": [each.number for each in entry.versions],
        }
        for name, entry in sorted(entries.entries.items())
    ]
    return msgspec.json.format(msgspec.json.encode(rows), indent=2)
