"""A secret as it is sent: encoded once for each entry of the ledger, and kept while that stands.

JSON has no bytes: such fields are base64, and the sibling `encoding` says which they are.
"""

from __future__ import annotations

from secrets import token_hex

import msgspec

from agent.api.http import Answer, problem
from agent.core.clock import Clock, rfc3339, wall_at
from agent.core.secret import Field
from agent.ledger import Entry, State

TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"

DENIED_ANSWER = problem(403, "no such secret or bundle, or not for you")
"""The same for both, to the byte."""
NO_FIELD = problem(404, "the secret has no such field")
NOTHING_HERE = problem(404, "there is nothing at this path; /openapi.json says what there is")

SHORTEST_RETRY, LONGEST_RETRY, USUAL_RETRY = 1, 60, 5
"""Seconds of Retry-After."""

RUN = token_hex(4)
"""Revisions are counted anew by each run of the agent, so entity tags say whose they are."""


class Kept:
    """All answers of one entry, which is usable."""

    __slots__ = ("_fields", "entry", "etag", "not_modified", "version", "whole")

    def __init__(self, entry: Entry, clock: Clock) -> None:
        assert entry.reading is not None  # noqa: S101  # it is usable
        self.entry, self.version = entry, entry.reading.version
        self.etag = f'"{RUN}-{entry.revision}"'
        tag = (("ETag", self.etag),)
        self.whole = Answer(200, _body(entry, clock), headers=tag)
        self.not_modified = Answer(304, headers=tag)
        self._fields: dict[str, Answer] = {}

    def field(self, name: str | None) -> Answer | None:
        """The bytes of a field; None if there is none of the name."""
        if name is None:
            return None
        answer = self._fields.get(name)
        reading = self.entry.reading
        if answer is None and reading is not None and name in reading.value:
            body, content_type = raw(reading.value[name])
            answer = Answer(200, body, content_type, (("ETag", self.etag),))
            self._fields[name] = answer
        return answer

    def is_known(self, if_none_match: str | None) -> bool:
        """Whether the client has this one already."""
        if if_none_match is None:
            return False
        if if_none_match == self.etag:
            return True
        tags = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
        return self.etag in tags or tags == ["*"]


class KeptAnswers:
    """By name; what is no longer in the ledger is forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, Kept] = {}

    def of(self, entry: Entry) -> Kept | None:
        """None: there is no value that may be used."""
        kept = self._kept.get(entry.name)
        if kept is not None and kept.entry is entry:
            return kept
        if not entry.is_usable:
            self.forget(entry.name)
            return None
        kept = self._kept[entry.name] = Kept(entry, self._clock)
        return kept

    def forget(self, name: str) -> None:
        """A value that has changed is not kept any longer than it must."""
        self._kept.pop(name, None)


def raw(value: Field) -> tuple[bytes, str]:
    """A field's bytes and their type; what is neither text nor bytes is JSON."""
    if isinstance(value, bytes):
        return value, BYTES
    if isinstance(value, str):
        return value.encode(), TEXT
    return msgspec.json.encode(value), TEXT


def not_had(entry: Entry, clock: Clock) -> Answer:
    """503, and when to ask again: the agent's own next attempt, if that is soon."""
    left = USUAL_RETRY if entry.next_at is None else int(entry.next_at - clock.now()) + 1
    seconds = min(max(left, SHORTEST_RETRY), LONGEST_RETRY)
    has_expired = entry.state is State.EXPIRED
    detail = "the value has expired" if has_expired else "there is no value yet"
    return problem(503, detail, headers=(("Retry-After", str(seconds)),))


def summary(entry: Entry) -> dict[str, str | None]:
    """What is told of a secret where its value is not."""
    version = None if entry.reading is None else entry.reading.version
    return {"name": entry.name, "version": version, "state": str(entry.state)}


def _body(entry: Entry, clock: Clock) -> bytes:
    assert entry.reading is not None  # noqa: S101  # it is usable
    value = entry.reading.value.reveal()
    content: dict[str, object] = {
        "name": entry.name,
        "version": entry.reading.version,
        "value": value,
        "expires_at": _instant(entry.expires_at, clock),
        "stale": entry.state is not State.FRESH,
        "read_at": _instant(entry.read_at, clock),
    }
    if encoding := {name: "base64" for name, each in value.items() if isinstance(each, bytes)}:
        content["encoding"] = encoding
    return msgspec.json.encode(content) + b"\n"


def _instant(instant: float | None, clock: Clock) -> str | None:
    return None if instant is None else rfc3339(wall_at(clock, instant))
