"""The log: one line for each event at or above a level, on standard error or to the journal.

Error policy: a line that can't be written is counted and dropped, and said with the next one that
can. Logging never stops the agent, nor holds it up.

What an event says in words of others goes through the redactor before the sentence is made of it;
the names of the configuration and numbers do not need to.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TextIO

import msgspec

from agent.config.model import Log as LogSpec
from agent.core.clock import Clock
from agent.core.events import Event
from agent.telemetry.journal import SOCKET, Journal, is_journal
from agent.telemetry.lines import (
    LEVELS,
    Line,
    Value,
    as_json,
    as_text,
    for_terminal,
    level_name,
    with_priority,
)
from agent.telemetry.output import Output

OUR_WORDS = frozenset(
    {"store", "secret", "bundle", "secrets", "added", "changed", "removed", "version", "signal"}
    | {"method", "operation", "outcome", "kind", "step"}
)
"""Fields that hold names of the configuration or words of ours. Any other text is redacted."""

Write = Callable[[Line], None]


class Log:
    """Listens to events. `dropped` counts lines that could not be written."""

    def __init__(
        self,
        spec: LogSpec,
        *,
        redact: Callable[[str], str],
        clock: Clock,
        stream: TextIO | None = None,
        environment: Mapping[str, str] = os.environ,
        journal_socket: Path = SOCKET,
    ) -> None:
        self.dropped = 0
        self._redact = redact
        self._clock = clock
        self._stream = sys.stderr if stream is None else stream
        self._environment = environment
        self._journal = Journal(journal_socket)
        self._unsaid = 0
        self.reconfigure(spec)

    def reconfigure(self, spec: LogSpec) -> None:
        """Another level or format from now on."""
        self._level = LEVELS[spec.level]
        self._write = _writer(spec.format, self._stream, self._environment, self._journal)

    def __call__(self, event: Event) -> None:
        if event.level < self._level:
            return
        kind = type(event)
        clean = msgspec.structs.replace(
            event, **{name: self._redacted(getattr(event, name)) for name in _foreign(kind)}
        )
        fields = msgspec.structs.asdict(clean)
        self._put(
            Line(self._clock.wall(), level_name(event.level), _name(kind), str(clean), fields)
        )

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """While entered, warnings of Python and of libraries come here, and nowhere else."""
        root, ours = logging.getLogger(), _ForeignRecords(self.foreign)
        handlers, level = root.handlers[:], root.level
        root.handlers[:] = [ours]
        root.setLevel(logging.WARNING)
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            root.handlers[:] = handlers
            root.setLevel(level)

    def foreign(self, level: int, logger: str, message: str) -> None:
        """A line that a library wrote."""
        if level >= self._level:
            fields: dict[str, Value] = {"logger": logger}
            text = self._redact(message)
            self._put(Line(self._clock.wall(), level_name(level), "log", text, fields))

    def close(self) -> None:
        """Give the journal's socket up; the next line would make a new one."""
        self._journal.close()

    def _redacted(self, value: str | list[str] | None) -> str | list[str] | None:
        if isinstance(value, str):
            return self._redact(value)
        return None if value is None else [self._redact(each) for each in value]

    def _put(self, line: Line) -> None:
        if self._unsaid:
            text = f"log: {self._unsaid} lines could not be written"
            fields: dict[str, Value] = {"lines": self._unsaid}
            if self._is_written(Line(line.at, "warning", "lines_dropped", text, fields)):
                self._unsaid = 0
        if not self._is_written(line):
            self._unsaid += 1
            self.dropped += 1

    def _is_written(self, line: Line) -> bool:
        try:
            self._write(line)
        except (OSError, ValueError):  # ValueError: the stream is closed
            return False
        return True


class _ForeignRecords(logging.Handler):
    """From the records of `logging` to lines of ours."""

    def __init__(self, put: Callable[[int, str, str], None]) -> None:
        super().__init__(logging.WARNING)
        self._put = put

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
        except (TypeError, ValueError, KeyError):  # arguments that don't fit its own text
            message = str(record.msg)
        self._put(record.levelno, record.name, message.rstrip())


@cache
def _foreign(event: type[Event]) -> tuple[str, ...]:
    """The fields that may hold words of others."""
    return tuple(
        field.name
        for field in msgspec.structs.fields(event)
        if field.type in (str, str | None, list[str]) and field.name not in OUR_WORDS
    )


@cache
def _name(event: type[Event]) -> str:
    """`SecretRead` is `secret_read`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", event.__name__).lower()


# --- where to ---------------------------------------------------------------------------------


def _writer(form: str, stream: TextIO, environment: Mapping[str, str], journal: Journal) -> Write:
    is_terminal = _is_terminal(stream)
    if form == "auto" and is_terminal:
        form = "text"
    elif form == "auto":
        form = "journal" if is_journal(stream, environment) else "json"
    output = Output(stream)
    if form == "json":
        return lambda line: output.write(as_json(line))
    if form == "journal":
        return _to_journal(journal, output)
    if not is_terminal:
        return lambda line: output.write(as_text(line))
    is_coloured = not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    return lambda line: output.write(for_terminal(line, is_coloured=is_coloured))


def _to_journal(journal: Journal, output: Output) -> Write:
    """To the journal; what it does not take goes to the stream, behind which it usually is, too."""

    def write(line: Line) -> None:
        try:
            journal.send(line)
        except OSError:
            output.write(with_priority(line))

    return write


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False
