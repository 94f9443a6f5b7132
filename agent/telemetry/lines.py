"""One line of the log, and its forms: text for people, JSON, and text with a priority."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from agent.core.events import DEBUG, ERROR, INFO, WARNING

Value = str | int | float | bool | list[str] | None

LEVELS = {"debug": DEBUG, "info": INFO, "warning": WARNING, "error": ERROR}
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
COLOURS = {"debug": "2", "info": "36", "warning": "33", "error": "1;31"}
TAB_WIDTH = 4


class Line(msgspec.Struct, frozen=True):
    """`at` is wall time; `event` is a name in snake case; the message may have several lines."""

    at: float
    level: str
    event: str
    message: str
    fields: Mapping[str, Value] = msgspec.field(default_factory=dict)


def level_name(level: int) -> str:
    """The name of the highest of our levels that `level` reaches.

    >>> level_name(50)
    'error'
    """
    return next((name for name in reversed(LEVELS) if level >= LEVELS[name]), "debug")


def as_text(line: Line) -> bytes:
    """`2026-11-24T10:00:00.123Z info    sentence`, further lines of it indented to the first."""
    return _text(line, _stamp(line.at), "{}", "{}")


def for_terminal(line: Line, *, is_coloured: bool) -> bytes:
    """The same with the time of day where the reader is and, perhaps, colours."""
    time_of_day = datetime.fromtimestamp(line.at, UTC).astimezone().strftime("%H:%M:%S")
    if not is_coloured:
        return _text(line, time_of_day, "{}", "{}")
    return _text(line, time_of_day, "\x1b[2m{}\x1b[0m", f"\x1b[{COLOURS[line.level]}m{{}}\x1b[0m")


def as_json(line: Line) -> bytes:
    """One object, `time`, `level`, `event` and `message` first."""
    head = {"time": _stamp(line.at), "level": line.level, "event": line.event}
    return msgspec.json.encode(_sound({**head, "message": line.message, **line.fields})) + b"\n"


def with_priority(line: Line) -> bytes:
    """`<6>sentence`: what systemd, and a journal behind standard error, understand."""
    priority = PRIORITIES[line.level]
    return _encoded("".join(f"<{priority}>{each}\n" for each in _printable(line.message)))


def _text(line: Line, stamp: str, stamp_style: str, level_style: str) -> bytes:
    level = f"{line.level:7}"
    first = f"{stamp_style.format(stamp)} {level_style.format(level)} "
    further = "\n" + " " * (len(stamp) + len(level) + 2)
    return _encoded(f"{first}{further.join(_printable(line.message))}\n")


def _stamp(wall: float) -> str:
    stamp = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")


def _printable(message: str) -> Iterator[str]:
    """Its lines; what could move a cursor, or look like a line of ours, is shown by its number."""
    for line in message.split("\n"):
        line = line.expandtabs(TAB_WIDTH)
        yield (
            line
            if line.isprintable()
            else "".join(
                each if each.isprintable() else each.encode("unicode_escape").decode()
                for each in line
            )
        )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _sound(value: object) -> object:
    """The value with nothing in it that UTF-8 can't say (names of files may have such)."""
    if isinstance(value, str):
        return value if value.isascii() else _encoded(value).decode()
    if isinstance(value, Mapping):
        return {name: _sound(each) for name, each in value.items()}
    return [_sound(each) for each in value] if isinstance(value, list) else value
