"""One line for each event, in each form, to real pipes, terminals and files."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import pty
import re
import warnings
from collections.abc import Iterator
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import TextIO

import msgspec
import pytest

from agent.config.model import Log as LogSpec
from agent.core import events
from agent.core.clock import SystemClock
from agent.core.events import (
    Advice,
    BundleFailed,
    Event,
    LoggedIn,
    ReloadRefused,
    RequestDone,
    SecretRead,
    SecretStale,
    StoreDown,
)
from agent.telemetry.logs import OUR_WORDS, Log
from agent.telemetry.output import Output

LOGGED_IN = LoggedIn(store="vault", method="approle", ttl_seconds=3600)
DOWN = StoreDown(store="hunter2", reason="password hunter2 refused")


def redact(text: str) -> str:
    return text.replace("hunter2", "[redacted]")


def make(stream: TextIO, spec: LogSpec = LogSpec(), **environment: str) -> Log:  # noqa: B008
    return Log(spec, redact=redact, clock=SystemClock(), stream=stream, environment=environment)


def json_lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[TextIO]:
    """A file, which is neither a terminal nor the journal; read it as `log`."""
    with (tmp_path / "log").open("w") as opened:
        yield opened


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, int]]:
    """A terminal to write to, and the end at which somebody reads."""
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as stream:
        yield stream, reader
    os.close(reader)


def read_file(stream: TextIO) -> str:
    return Path(stream.name).read_text()


# --- forms ------------------------------------------------------------------------------------


def test_json_elsewhere_with_the_fields_of_the_event(stream: TextIO) -> None:
    make(stream)(LOGGED_IN)
    (line,) = json_lines(read_file(stream))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line["time"]))
    datetime.fromisoformat(str(line.pop("time")))
    assert line == {
        "level": "info",
        "event": "logged_in",
        "message": "vault: logged in by approle; the token is good for 60 min",
        "store": "vault",
        "method": "approle",
        "ttl_seconds": 3600,
    }


def test_text_on_a_terminal_in_colour(terminal: tuple[TextIO, int]) -> None:
    stream, reader = terminal
    make(stream, TERM="xterm")(DOWN)
    shown = os.read(reader, 10_000).decode()
    assert "\x1b[33mwarning\x1b[0m hunter2: can't be had: password [redacted] refused" in shown


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_it_is_not_wanted(
    terminal: tuple[TextIO, int], environment: dict[str, str]
) -> None:
    stream, reader = terminal
    make(stream, LogSpec(), **environment)(LOGGED_IN)
    shown = os.read(reader, 10_000).decode()
    assert re.match(r"\d\d:\d\d:\d\d info    vault: logged in", shown)


def test_text_that_is_no_terminals_has_the_whole_time(stream: TextIO) -> None:
    make(stream, LogSpec(format="text"))(LOGGED_IN)
    assert re.match(r"\d{4}-\d\d-\d\dT\S{12}Z info    vault: logged in", read_file(stream))


def test_a_sentence_of_several_lines_is_indented(stream: TextIO) -> None:
    make(stream, LogSpec(format="text"))(ReloadRefused(problems=["a.yaml:1: one", "a.yaml:2: two"]))
    first, *others = read_file(stream).splitlines()
    at = first.index("new configuration")
    assert others == [" " * at + "a.yaml:1: one", " " * at + "a.yaml:2: two"]


def test_words_of_others_can_neither_move_the_cursor_nor_begin_a_line(stream: TextIO) -> None:
    reason = "x\x1b[2J\r2026-01-01 info fine\u2028\x85\u202efine\n2026 info fine\tend"
    make(stream, LogSpec(format="text"))(StoreDown(store="vault", reason=reason))
    text = read_file(stream)
    assert r"x\x1b[2J\r2026-01-01 info fine\u2028\x85\u202efine" in text
    assert not re.search(r"^2026 info", text, re.MULTILINE)
    assert text.count("\n") == len(text.splitlines()) == 2


def test_what_is_not_unicode_is_written_all_the_same(stream: TextIO) -> None:
    event = StoreDown(store="vault", reason=os.fsdecode(b"file \xff.pem"))
    make(stream, LogSpec(format="text"))(event)
    make(stream, LogSpec(format="json"))(event)
    assert read_file(stream).count("udcff.pem") == 3


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_stream_without_a_descriptor_will_do(form: str) -> None:
    stream = StringIO()
    make(stream, LogSpec(format=form))(LOGGED_IN)  # type: ignore[arg-type]
    assert "logged in by approle" in stream.getvalue()


# --- levels and redaction ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["request_done", "secret_read", "logged_in", "store_down", "bundle_failed"]),
        ("info", ["logged_in", "store_down", "bundle_failed"]),
        ("warning", ["store_down", "bundle_failed"]),
        ("error", ["bundle_failed"]),
    ],
)
def test_what_is_below_the_level_is_left_out(
    stream: TextIO, level: str, expected: list[str]
) -> None:
    log = make(stream, LogSpec(level=level))  # type: ignore[arg-type]
    log(RequestDone(store="vault", operation="read", seconds=0.1, outcome="ok"))
    log(SecretRead(secret="web", version="1", is_changed=False))
    log(LOGGED_IN)
    log(DOWN)
    log(BundleFailed(bundle="app", step="render", reason="no"))
    assert [line["event"] for line in json_lines(read_file(stream))] == expected


def test_level_and_format_can_change_while_it_is_at_work(stream: TextIO) -> None:
    log = make(stream)
    with log.capturing():
        log.reconfigure(LogSpec(level="error", format="text"))
        log(DOWN)
        logging.getLogger("some").warning("not this")
        logging.getLogger("some").error("this")
    (line,) = read_file(stream).splitlines()
    assert line.endswith(" error   this")


def test_of_an_event_that_is_filtered_no_sentence_is_made(stream: TextIO) -> None:
    class Unspoken(RequestDone, frozen=True, kw_only=True):
        def __str__(self) -> str:
            raise AssertionError("nobody reads it")

    make(stream)(Unspoken(store="vault", operation="read", seconds=0.1, outcome="ok"))
    assert read_file(stream) == ""


def test_words_of_others_are_redacted_and_names_are_not(stream: TextIO) -> None:
    log = make(stream)
    log(SecretStale(secret="hunter2", reason="hunter2 is wrong", kind="denied", retry_after=4.0))
    log(ReloadRefused(problems=["key hunter2", "fine"]))
    log(Advice(subject="vault", text="hunter2 is weak"))
    stale, refused, advice = json_lines(read_file(stream))
    assert stale["message"] == ("hunter2: no fresh value: [redacted] is wrong; retrying in 4 s")
    assert (stale["secret"], stale["reason"]) == ("hunter2", "[redacted] is wrong")
    assert refused["problems"] == ["key [redacted]", "fine"]
    assert advice["text"] == "[redacted] is weak"


def every_event() -> list[Event]:
    """One of each class, all of its text fields and lists `hunter2`."""
    samples: dict[object, object] = {
        str: "hunter2",
        str | None: "hunter2",
        list[str]: ["hunter2"],
        float: 1.0,
        float | None: 1.0,
        int: 1,
        int | None: 1,
        bool: True,
    }
    found: list[Event] = []
    for kind in Event.__subclasses__():
        fields = {name: samples[hint] for name, hint in _hints(kind).items()}
        found.append(kind(**fields))
    return found


def _hints(kind: type[Event]) -> dict[str, object]:
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


@pytest.mark.parametrize("event", every_event(), ids=lambda event: type(event).__name__)
def test_every_text_field_that_is_not_one_of_our_words_is_redacted(
    stream: TextIO, event: Event
) -> None:
    make(stream, LogSpec(level="debug"))(event)
    (line,) = json_lines(read_file(stream))
    del line["message"], line["event"]
    shown = {name for name, value in line.items() if value in ("hunter2", ["hunter2"])}
    assert shown <= OUR_WORDS


def test_no_event_has_a_field_that_would_hide_one_of_the_lines() -> None:
    for event in Event.__subclasses__():
        assert not {"time", "event", "message"} & set(event.__struct_fields__)
    assert events.Event.level == logging.INFO


# --- what can't be written --------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[TextIO, int]]:
    """A pipe of four pages to write to, and its other end."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 16384)
    with os.fdopen(writer, "w") as stream:
        yield stream, reader
    os.close(reader)


def test_a_reader_that_has_stalled_holds_nothing_up(pipe: tuple[TextIO, int]) -> None:
    stream, reader = pipe
    log = make(stream)
    for _ in range(1000):
        log(LOGGED_IN)
    dropped = log.dropped
    assert dropped > 800
    assert len(json_lines(os.read(reader, 1 << 20).decode())) == 1000 - dropped

    log(DOWN)
    said, down = json_lines(os.read(reader, 1 << 20).decode())
    assert said["message"] == f"log: {dropped} lines could not be written"
    assert said["lines"] == dropped
    assert down["event"] == "store_down"


async def test_a_line_from_within_the_event_loop_is_no_blocking_call(
    pipe: tuple[TextIO, int],
) -> None:
    stream, reader = pipe
    make(stream)(LOGGED_IN)
    assert b"logged_in" in os.read(reader, 10_000)


def test_a_line_that_was_cut_is_ended_before_the_next(pipe: tuple[TextIO, int]) -> None:
    stream, reader = pipe
    output = Output(stream)
    with pytest.raises(BlockingIOError):
        output.write(b"x" * 40_000 + b"\n")
    os.read(reader, 1 << 20)
    output.write(b"next\n")
    output.write(b"and next\n")
    assert os.read(reader, 1 << 20) == b"\nnext\nand next\n"


def test_a_line_longer_than_a_pipe_takes_at_once_arrives_whole() -> None:
    reader, writer = os.pipe()
    line = b"x" * 50_000 + b"\n"
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as end:
        Output(stream).write(line)
        stream.close()
        assert end.read() == line


def test_a_reader_that_is_gone_is_no_failure() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        log = make(stream)
        log(LOGGED_IN)
        assert log.dropped == 1


def test_a_full_disk_is_no_failure() -> None:
    with Path("/dev/full").open("w") as stream:
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            Output(stream).write(b"x")
        log = make(stream)
        log(LOGGED_IN)
        assert log.dropped == 1


def test_a_stream_that_is_closed_is_no_failure(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        log = make(stream)
    log(LOGGED_IN)
    log = make(stream)
    log(LOGGED_IN)
    assert log.dropped == 1


# --- what libraries say -----------------------------------------------------------------------


def test_what_libraries_log_comes_here_redacted(stream: TextIO) -> None:
    log = make(stream)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with log.capturing():
        logging.getLogger("aiohttp.server").warning("login %s failed", "hunter2")
        logging.getLogger("aiohttp.server").info("not this")
    assert (root.handlers, root.level) == before
    (line,) = json_lines(read_file(stream))
    assert line["message"] == "login [redacted] failed"
    assert (line["event"], line["level"], line["logger"]) == ("log", "warning", "aiohttp.server")


def test_a_traceback_is_a_part_of_the_line_and_redacted(stream: TextIO) -> None:
    with make(stream).capturing():
        try:
            raise ValueError("hunter2")
        except ValueError:
            logging.getLogger("asyncio").critical("task failed", exc_info=True)
    (line,) = json_lines(read_file(stream))
    assert str(line["message"]).startswith("task failed\nTraceback")
    assert str(line["message"]).endswith("ValueError: [redacted]")
    assert line["level"] == "error"


def test_a_record_that_does_not_fit_its_arguments_is_no_failure(stream: TextIO) -> None:
    with make(stream).capturing():
        logging.getLogger("some").error("%d of %d", "hunter2")
    (line,) = json_lines(read_file(stream))
    assert line["message"] == "%d of %d"


def test_warnings_of_python_come_here(stream: TextIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with make(stream).capturing():
            warnings.warn("hunter2 is deprecated", DeprecationWarning, stacklevel=1)
    (line,) = json_lines(read_file(stream))
    assert "DeprecationWarning: [redacted] is deprecated" in str(line["message"])
    assert line["logger"] == "py.warnings"
