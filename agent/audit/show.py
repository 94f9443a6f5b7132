"""Records for a person: which of them, and how they look. Pure but for names of users."""

from __future__ import annotations

import pwd
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import msgspec

from agent.audit.chain import parse

COLUMNS = ("when", "event", "what", "who", "listener", "decision")
_OWN = frozenset(("seq", "at", "mono", "event", "change", "last_chain", "last_seq", "format"))

Fields = dict[str, Any]


class Wanted(msgspec.Struct, frozen=True):
    """What a record must be; None: whatever. `since` and `until` are wall times."""

    secret: str | None = None
    user: str | None = None
    unit: str | None = None
    since: float | None = None
    until: float | None = None
    decision: str | None = None
    event: str | None = None

    def admits(self, fields: Fields) -> bool:
        who = fields.get("caller")
        caller = who if isinstance(who, dict) else {}
        return (
            self._is_in_time(fields)
            and (self.secret is None or any(_is_like(each, self.secret) for each in _names(fields)))
            and (self.user is None or self.user in _user_names(caller.get("uid")))
            and (self.unit is None or _is_like(caller.get("unit"), self.unit))
            and (self.decision is None or fields.get("decision") == self.decision)
            and (self.event is None or self.event in (fields.get("event"), fields.get("change")))
        )

    def _is_in_time(self, fields: Fields) -> bool:
        if self.since is None and self.until is None:
            return True
        at = wall_of(fields.get("at"))
        if at is None:
            return False
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


def chosen(lines: Iterable[bytes], wanted: Wanted) -> Iterator[tuple[bytes, Fields]]:
    """Each record that is wanted: its line as it stands, and its fields. No proof is asked for."""
    for line in lines:
        try:
            fields = parse(line.removesuffix(b"\n")).fields
        except ValueError:
            continue
        if wanted.admits(fields):
            yield line.removesuffix(b"\n"), fields


def row(fields: Fields) -> tuple[str, ...]:
    """The cells of COLUMNS, printable."""
    at = str(fields.get("at", ""))
    shown = (
        at[:19].replace("T", " "),
        fields.get("change") or fields.get("method") or fields.get("event"),
        _what(fields),
        _who(fields.get("caller")),
        fields.get("listener"),
        _decision(fields),
    )
    return tuple(printable(each) for each in shown)


def wall_of(text: object) -> float | None:
    """Seconds since the epoch of an RFC 3339 time (UTC where it names no zone), or a date."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def printable(value: object) -> str:
    """Nothing that a terminal would obey: callers choose names."""
    text = "" if value is None else str(value)
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _what(fields: Fields) -> str:
    """`database.password v3`, or the further fields by name."""
    if fields.get("event") != "access":
        said = (each for each in fields.items() if each[0] not in _OWN)
        return " ".join(f"{name}={_plain(value)}" for name, value in said)
    secret, field, path = (fields.get(each) for each in ("secret", "field", "path"))
    named = ".".join(str(each) for each in (secret, field) if each)
    parts = [named, path, fields.get("capability"), fields.get("action")]
    version = fields.get("version")
    return " ".join([*(str(each) for each in parts if each), *([f"v{version}"] if version else [])])


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _who(caller: object) -> str:
    if not isinstance(caller, dict):
        return ""
    if caller.get("tcp"):
        return "tcp"
    uid, pid = caller.get("uid"), caller.get("pid")
    user = _user_names(uid)[0] if isinstance(uid, int) else "?"
    program = str(caller.get("executable") or "").rpartition("/")[2]
    where = caller.get("unit") or caller.get("pod_uid") or str(caller.get("container") or "")[:12]
    parts = [f"{program or '?'}[{pid}]" if pid else program, where]
    return " ".join([user, *(str(each) for each in parts if each)])


def _decision(fields: Fields) -> str:
    decision, rule, status = (fields.get(each) for each in ("decision", "rule", "status"))
    parts = [decision, f"rule {rule}" if rule else None, status]
    return ", ".join(str(each) for each in parts if each)


def _names(fields: Fields) -> list[object]:
    """Every secret that a record is about."""
    several = fields.get("secrets")
    return [fields.get("secret"), *(several if isinstance(several, list) else [])]


def _is_like(value: object, pattern: str) -> bool:
    return isinstance(value, str) and fnmatchcase(value, pattern)


@cache
def _user_names(uid: object) -> tuple[str, ...]:
    """The user's name, where there is one, and number."""
    if not isinstance(uid, int):
        return ("",)
    try:
        return pwd.getpwuid(uid).pw_name, str(uid)
    except (KeyError, OverflowError):
        return (str(uid),)
