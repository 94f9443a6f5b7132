"""What is recorded of one access, and how a record becomes a line's body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec
from msgspec.structs import asdict, replace

from agent.core.clock import rfc3339

LONGEST_TEXT = 512
"""Characters of what a caller has sent; the rest is cut off."""

_DROPPED_CALLERS = 1024


class Access(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a door knows of an access. What is None is left out.

    `action`: read where it is None; list, watch, confirm, refused … `capability` and `path` are the
    vault door's. `decision`: of the rules; `error` where none could be made. `rule` counts from 1.
    """

    listener: str
    secret: str | None = None
    field: str | None = None
    version: str | None = None
    path: str | None = None
    action: str | None = None
    capability: str | None = None
    decision: Literal["allowed", "denied", "error"] | None = None
    rule: int | None = None


class Who(Protocol):
    """A caller, as far as it is recorded."""

    @property
    def uid(self) -> int | None: ...
    @property
    def gid(self) -> int | None: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def executable(self) -> str | None: ...
    @property
    def unit(self) -> str | None: ...
    @property
    def container(self) -> str | None: ...
    @property
    def pod_uid(self) -> str | None: ...
    @property
    def is_local_socket(self) -> bool: ...


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """An access with who and how it ended; its fields in the order of the line."""

    event: Literal["", "access"]
    id: str
    method: str | None
    caller: msgspec.Raw
    listener: str
    secret: str | None = None
    field: str | None = None
    version: str | None = None
    path: str | None = None
    action: str | None = None
    capability: str | None = None
    decision: str | None = None
    rule: int | None = None
    status: int | None = None


Record = msgspec.Struct | Mapping[str, Any]
"""A struct that encodes to a JSON object, or one as a mapping; neither empty."""


class Stamped(msgspec.Struct, frozen=True):
    """A record and when it was made: wall time and an instant."""

    wall: float
    now: float
    record: Record


class Callers:
    """Callers as JSON, each made once: a connection asks often."""

    def __init__(self) -> None:
        self._known: dict[Who, msgspec.Raw] = {}

    def encoded(self, caller: Who) -> msgspec.Raw:
        found = self._known.get(caller)
        if found is None:
            if len(self._known) >= _DROPPED_CALLERS:
                self._known.clear()
            found = self._known[caller] = msgspec.Raw(_encoded(_described(caller)))
        return found


def access(
    who: msgspec.Raw, request_id: str, method: str | None, record: Access, status: int | None
) -> Asked:
    """The whole record of an access."""
    return Asked(
        "access",
        request_id,
        method,
        who,
        record.listener,
        record.secret,
        record.field,
        record.version,
        record.path,
        record.action,
        record.capability,
        record.decision,
        record.rule,
        status,
    )


def shortened(text: str | None) -> str | None:
    """Not longer than is worth keeping."""
    if text is None or len(text) <= LONGEST_TEXT:
        return text
    return text[:LONGEST_TEXT] + "…"


class Bodies:
    """Encodes records: `{"seq":…,"at":…,"mono":…, …}`, without the chain's value."""

    def __init__(self) -> None:
        self._second, self._text = -1, b""

    def encode(self, stamped: Stamped, sequence: int) -> bytes:
        second = int(stamped.wall)
        if second != self._second:
            self._second, self._text = second, rfc3339(second).removesuffix("Z").encode()
        micros = int((stamped.wall - second) * 1e6)
        return b'{"seq":%d,"at":"%b.%06dZ","mono":%.6f,%b' % (
            sequence,
            self._text,
            micros,
            stamped.now,
            _encoded(stamped.record)[1:],
        )


_encode = msgspec.json.Encoder().encode


def _encoded(record: Record) -> bytes:
    try:
        return _encode(record)
    except UnicodeEncodeError:  # a path with bytes that are no UTF-8
        return _encode(_sound(record))


def _sound(value: Any) -> Any:
    """The value with nothing in it that UTF-8 can't say."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, msgspec.Struct):
        return replace(value, **{name: _sound(each) for name, each in asdict(value).items()})
    if isinstance(value, Mapping):
        return {name: _sound(each) for name, each in value.items()}
    return [_sound(each) for each in value] if isinstance(value, list | tuple) else value


def _described(caller: Who) -> dict[str, Any]:
    known = {
        "uid": caller.uid,
        "gid": caller.gid,
        "pid": caller.pid,
        "executable": caller.executable,
        "unit": caller.unit,
        "container": caller.container,
        "pod_uid": caller.pod_uid,
    }
    found = {key: value for key, value in known.items() if value is not None}
    return found if caller.is_local_socket else {**found, "tcp": True}
