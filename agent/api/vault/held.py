"""Reads that the ledger answers: which secret a path means, and the server's answer of it.

A secret's path may be the command line's, without KV v2's `data/`; where the engine is mounted is
known once it has been read. So every path that a secret may have is looked up, and its reading
tells which is its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import msgspec

from agent.api.http import Answer, Request
from agent.api.vault.asking import Asked
from agent.api.vault.words import SOON, Refused, denied, response
from agent.config.model import SecretEntry
from agent.core.clock import Clock
from agent.core.secret import Reading
from agent.ledger import Entry, Ledger
from agent.stores.vault.answers import STATIC_ROLE_MARGIN
from agent.stores.vault.envelope import Envelope, opened

HIT = (("X-Cache", "HIT"),)
"""As the vault's own proxy says it."""

WRITES = ("POST", "PUT")


class Shown(msgspec.Struct, frozen=True):
    """An answer as long as it is the same: per revision, reading and second of its lease."""

    reading: Reading
    left: int
    answer: Answer


class Held:
    """The secrets of one store, by path."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock
        self._entries: Mapping[str, SecretEntry] = {}
        self._names: dict[str, list[str]] = {}
        self._shown: dict[str, Shown] = {}
        self._envelopes: dict[str, tuple[bytes, Envelope | None]] = {}

    def use(self, entries: Mapping[str, SecretEntry]) -> None:
        """The secrets that there are from now on."""
        self._entries = entries
        self._names, self._shown, self._envelopes = {}, {}, {}
        for name, entry in entries.items():
            for path in possible_paths(entry.path):
                self._names.setdefault(path, []).append(name)

    def meant(self, asked: Asked, request: Request) -> list[str]:
        """Names of secrets of which this is the read, or the write with the very same body."""
        found = self._names.get(asked.path)
        if found is None:
            return []
        return [name for name in found if self._is_of(name, asked, request)]

    def readers_of(self, path: str) -> list[str]:
        """Names of secrets that a KV command would look for at this path."""
        return self._names.get(path.strip("/"), [])

    def entry(self, name: str) -> Entry:
        return self._ledger.entry(name)

    def envelope(self, name: str) -> Envelope | None:
        """What the current reading's answer said beside the value; None where none is known."""
        reading = self._ledger.entry(name).reading
        raw = b"" if reading is None else reading.envelope
        known = self._envelopes.get(name)
        if known is None or known[0] != raw:
            known = self._envelopes[name] = (raw, opened(raw))
        return known[1]

    def leased(self, lease_id: str) -> list[str]:
        """Names of secrets whose value has this lease."""
        return [name for name in self._entries if self._lease_id(name) == lease_id]

    def answer(self, name: str) -> Answer:
        """As the server gave it, with what is left of its time; `Refused` if there is no value."""
        entry = self._ledger.entry(name)
        envelope = self.envelope(name)
        if entry.reading is None or envelope is None or not entry.is_usable:
            raise _not_had(entry)
        left = self.seconds_left(entry)
        shown = self._shown.get(name)
        if shown is None or shown.reading is not entry.reading or shown.left != left:
            body = self._body(entry, entry.reading, envelope, left)
            shown = Shown(entry.reading, left, Answer(200, body, headers=HIT))
            self._shown[name] = shown
        return shown.answer

    def seconds_left(self, entry: Entry) -> int:
        """Of the lease, or of what the value counts down itself; -1 where nothing does."""
        reading = entry.reading
        ends = [] if entry.expires_at is None else [entry.expires_at]
        if reading is not None and reading.lease is not None:
            ends.append(reading.lease.term.ends_at)
        elif reading is not None and _counts_down(reading) and entry.read_at is not None:
            until_next = (reading.read_again_after or 0.0) - STATIC_ROLE_MARGIN
            ends = [entry.read_at + until_next]
        else:
            return -1
        return max(0, round(min(ends) - self._clock.now()))

    def _lease_id(self, name: str) -> str | None:
        reading = self._ledger.entry(name).reading
        return None if reading is None or reading.lease is None else reading.lease.id

    def _is_of(self, name: str, asked: Asked, request: Request) -> bool:
        entry, envelope = self._entries[name], self.envelope(name)
        if envelope is not None and envelope.path != asked.path:
            return False
        if envelope is None and asked.path != entry.path.strip("/"):
            return False
        if entry.data is not None:
            is_write = asked.method in WRITES and not asked.query
            return is_write and _json(request.body) == entry.data
        if not asked.is_read or request.body:
            return False
        return self._is_version(entry, envelope, asked.query)

    def _is_version(self, entry: SecretEntry, envelope: Envelope | None, query: str) -> bool:
        """Without a query the latest is meant; one that is pinned must be asked for by number."""
        if not query:
            return entry.version is None
        if envelope is None or envelope.metadata is None:
            return False
        (name, wanted), *others = parse_qsl(query, keep_blank_values=True) or [("", "")]
        if others or name != "version":
            return False
        return wanted == str(envelope.metadata.get("version")) or (
            wanted == "0" and entry.version is None
        )

    def _body(self, entry: Entry, reading: Reading, envelope: Envelope, left: int) -> bytes:
        data: dict[str, Any] | None = reading.value.reveal()
        if envelope.metadata is not None:
            data = {"data": data, "metadata": envelope.metadata}
        elif _counts_down(reading):
            data = {**(data or {}), "ttl": left}
        content: dict[str, Any] = {
            "request_id": str(uuid4()),
            "lease_duration": int(envelope.lease_duration),
            "warnings": envelope.warnings,
        }
        if envelope.auth is not None:
            content["auth"], data = {**reading.value.reveal(), **envelope.auth}, None
        if reading.lease is not None:
            content["lease_id"], content["lease_duration"] = reading.lease.id, left
            content["renewable"] = reading.lease.term.is_renewable
        if envelope.mount_type is not None:
            content["mount_type"] = envelope.mount_type
        return response(**content, data=data)


def possible_paths(path: str) -> Iterator[str]:
    """The path, with and without the step `data` that KV v2 has after its mount."""
    steps = path.strip("/").split("/")
    yield "/".join(steps)
    for at in range(1, len(steps)):
        yield "/".join([*steps[:at], "data", *steps[at:]])
        if steps[at] == "data" and at + 1 < len(steps):
            yield "/".join(steps[:at] + steps[at + 1 :])


def mount_answer(envelope: Envelope) -> Answer:
    """What the KV commands ask first: where the engine is mounted, and its version."""
    data = {
        "path": f"{envelope.mount}/",
        "type": "kv",
        "options": {"version": str(envelope.kv_version)},
    }
    return Answer(200, response(data=data), headers=HIT)


def _counts_down(reading: Reading) -> bool:
    """A static role: its `ttl` was taken out of the value, as it is another one each time."""
    return reading.lease is None and "last_vault_rotation" in reading.value


def _not_had(entry: Entry) -> Refused:
    """Nothing to give: what the store last said, or that it is not there yet."""
    if entry.kind == "denied":
        return denied()
    if entry.kind == "missing":
        return Refused(404)
    return Refused(503, "the agent does not have this yet", headers=(SOON,))


def _json(body: bytes) -> object:
    try:
        return msgspec.json.decode(body) if body else {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
