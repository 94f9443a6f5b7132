"""`leasehold status`: the picture, and the command that shows it once, as JSON, or for as long."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agent.cli.status_view import Terms, bar, in_words, view
from agent.core.clock import rfc3339
from tests.rig.door import REST, ROOT
from tests.rig.stand_in import StandIn, said, standing_in
from tests.rig.waiting import eventually

NOW = 1_764_000_000.0


def at(seconds: float) -> str:
    return rfc3339(NOW + seconds)


def secret(state: str = "fresh", **changed: Any) -> dict[str, Any]:
    """A lease of an hour, ten minutes old."""
    lease = {"began_at": at(-600), "renewable": True}
    return {
        "version": "7", "state": state, "stale": state == "stale", "stale_since": None,
        "reason": None, "read_at": at(-600), "expires_at": at(3000), "next_at": at(1800),
        "lease": lease, **changed,
    }  # fmt: skip


def store(state: str = "up", **changed: Any) -> dict[str, Any]:
    ends = {"logged_in_at": at(-7200), "token_expires_at": at(600)}
    return {"state": state, "since": at(-7200), "reason": None, **ends, **changed}


def bundle(state: str = "confirmed", **changed: Any) -> dict[str, Any]:
    told = {"confirmed_at": at(-180), "step": None, "reason": None}
    return {"generation": 42, "state": state, **told, **changed}


def report(**secrets: Any) -> dict[str, Any]:
    return {"stores": {"vault": store()}, "secrets": secrets, "bundles": {"app": bundle()}}


def shown(
    report: Mapping[str, Any],
    *,
    width: int = 80,
    now: float = NOW,
    colours: bool = False,
    **how: Any,
) -> list[str]:
    """Its lines on a terminal of this width."""
    file = io.StringIO()
    system: Any = "standard" if colours else None
    console = Console(file=file, width=width, color_system=system, force_terminal=True)
    console.print(view(report, now, how.pop("terms", Terms()), width=width, **how))
    return [each.rstrip() for each in file.getvalue().splitlines()]


def line_of(name: str, lines: list[str]) -> str:
    (line,) = [each for each in lines if each.startswith(name)]
    return " ".join(line.split())


# --- the picture ----------------------------------------------------------------------------------


def test_it_says_all_of_a_healthy_agent() -> None:
    lines = shown(
        report(database=secret(), kv=secret(expires_at=None, lease=None, next_at=at(240)))
    )
    assert lines[0].startswith("leasehold   2 secrets: 2 fresh")
    assert lines[0].endswith("16:00:00 UTC")
    database = line_of("database", lines).replace("━", "").replace("─", "")
    assert database == "database ● fresh ╋ 50 m renews in 30 m"
    kv = line_of("kv", lines).replace("╌", "")
    assert " ".join(kv.split()) == "kv ● fresh — reads again in 4 m"
    assert line_of("app", lines) == "app ● confirmed 42 3 m ago"
    assert line_of("vault", lines) == "vault ● up 2 h ago 2 h ago 10 m"
    assert "WHY" not in lines


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "renews in 30 m"),
        ({"next_at": at(-1)}, "renews now"),
        ({"lease": {"began_at": at(-600), "renewable": False}}, "replaces in 30 m"),
        ({"lease": None}, "replaces in 30 m"),
        ({"lease": None, "expires_at": None}, "reads again in 30 m"),
        ({"state": "stale", "next_at": at(5)}, "tries again in 5 s"),
        ({"state": "waiting", "next_at": at(5)}, "tries again in 5 s"),
        ({"state": "expired", "expires_at": at(-5), "next_at": at(5)}, "ended tries again in 5 s"),
    ],
)
def test_what_comes_next_is_in_words(changed: dict[str, Any], words: str) -> None:
    assert line_of("database", shown(report(database=secret(**changed)))).endswith(words)


def test_trouble_comes_first_and_says_why_once() -> None:
    down = "connection refused"
    many = {f"s{number}": secret("stale", reason=down) for number in range(7)}
    told = report(aaa=secret(), dead=secret("expired", reason="denied"), **many)
    told["stores"]["vault"] = store("down", reason=down)
    told["bundles"]["app"] = bundle("rolled_back", step="confirm", reason="GET /health: status 500")
    lines = shown(told)
    first = lines.index(next(each for each in lines if each.startswith("SECRET"))) + 1
    assert [each.split()[0] for each in lines[first : first + 9]] == [
        "dead", *(f"s{number}" for number in range(7)), "aaa",
    ]  # fmt: skip
    assert lines[lines.index("WHY") + 1 :] == [
        "vault, s0, s1 and 5 more: connection refused",
        "app (confirm): GET /health: status 500",
        "dead: denied",
    ]


def test_the_bar_runs_down_and_is_full_after_a_renewal() -> None:
    terms = Terms()
    told = report(database=secret(lease=None))  # where the agent does not say when it began
    full = [_length(shown(told, now=NOW + after, terms=terms)) for after in (0, 900, 1800)]
    told["secrets"]["database"]["expires_at"] = at(5400)
    renewed = _length(shown(told, now=NOW + 1800, terms=terms))
    later = _length(shown(told, now=NOW + 3600, terms=terms))
    assert full[0] > full[1] > full[2] and renewed > full[0] and later < renewed


def _length(lines: list[str]) -> int:
    line = line_of("database", lines)
    return line.count("━") + line.count("╋")


@given(st.floats(-2, 2), st.none() | st.floats(-2, 2), st.integers(0, 40))
def test_a_bar_has_its_length_whatever_the_numbers(
    left: float, mark: float | None, cells: int
) -> None:
    assert len(bar(left, mark, cells)) == cells


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 m"), (3599, "59 m"), (3600, "1 h"),
        (12000, "3 h 20 m"), (86400, "1 d"), (187200, "2 d 4 h"),
    ],
)  # fmt: skip
def test_durations_are_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("height", [12, 24, 50])
def test_it_fits_the_window(width: int, height: int) -> None:
    many = {f"secret-with-a-long-name-{number}": secret() for number in range(60)}
    told = report(**many, odd=secret("stale", reason="a long story " * 20))
    told["bundles"] = {f"bundle-{number}": bundle() for number in range(20)}
    for gone in (None, "nobody listens"):
        lines = shown(told, width=width, height=height, gone=gone)
        assert len(lines) <= height and max(map(len, lines)) <= width
        assert any(each.startswith("odd") for each in lines) or height < 24
        assert any(each.startswith("… a") for each in lines)


def test_an_agent_that_is_gone_is_said_over_what_was_known() -> None:
    lines = shown(report(database=secret()), gone="nobody listens at /run/x.sock", height=24)
    assert "✗ the agent does not answer; waiting for it" in lines[0]
    assert lines[1] == "nobody listens at /run/x.sock"
    assert line_of("database", lines)
    assert shown({}, gone="nobody listens")[1] == "nobody listens"


@pytest.mark.parametrize("place", ["name", "reason", "version", "state"])
def test_nothing_that_a_terminal_obeys_gets_through(place: str) -> None:
    evil = "\x1b[2J\x1b]0;x\x07[red]\r\n\x9b31m\u202e"
    entry = secret() if place == "name" else secret(**{place: evil})
    for width in (80, 120):
        text = "\n".join(shown(report(**{evil if place == "name" else "x": entry}), width=width))
        assert not {"\x1b", "\x07", "\r", "\x9b", "\u202e"} & set(text)


def test_states_differ_without_colour() -> None:
    states = ("fresh", "stale", "waiting", "expired")
    lines = shown(report(**{each: secret(each) for each in states}))
    assert len({line_of(each, lines).split()[1] for each in states}) == 4


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[StandIn]:
    async with standing_in(tmp_path) as door:
        door.by_path = lambda path: said(200, report(database=secret()))
        yield door


async def run(*arguments: object, **environment: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the real command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "status", *map(str, arguments)),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_it_is_shown_once(door: StandIn) -> None:
    code, out, err = await run("--socket", door.place)
    assert (code, err) == (0, "") and "\x1b" not in out
    assert line_of("database", out.splitlines())
    assert [each.start for each in door.asked] == ["GET /status HTTP/1.1"]


async def test_a_program_has_it_as_it_is(door: StandIn) -> None:
    code, out, err = await run("--json", LEASEHOLD_SOCKET=door.place)
    assert (code, json.loads(out), err) == (0, report(database=secret()), "")


async def test_a_secrets_listener_says_what_it_knows(door: StandIn) -> None:
    listed = [{"name": "database", "version": "7", "state": "stale"}]
    answers = {"/v1/secrets": said(200, {"secrets": listed})}
    door.by_path = lambda path: answers.get(path, said(404, {"detail": "nothing here"}))
    _, out, _ = await run("--socket", door.place)
    assert line_of("database", out.splitlines()) == "database 7 ◐ stale —"


@pytest.mark.parametrize("kind", ["telemetry", "listener"])
async def test_the_configuration_says_where(door: StandIn, tmp_path: Path, kind: str) -> None:
    sections: dict[str, Any] = {"telemetry": {"socket": door.place}}
    if kind == "listener":
        sections = {"listeners": [{"protocol": "secrets", "socket": door.place}]}
    file = tmp_path / "leasehold.yaml"
    file.write_text(yaml.safe_dump(REST | sections))
    assert (await run("--json", "-c", file))[0] == 0
    file.write_text(yaml.safe_dump(REST))
    code, _, err = await run("-c", file)
    assert code == 2 and err.startswith("telemetry: is needed to ask the running agent, or a")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ((), 2, "Say -c FILE, --socket PATH or LEASEHOLD_SOCKET"),
        (("--socket", "/nowhere"), 1, "nobody listens at /nowhere; is the agent running?"),
        (("--socket", "/nowhere", "--watch"), 2, "--watch needs a terminal"),
        (("--socket", "/nowhere", "--watch", "--json"), 2, "--watch is for people"),
    ],
)
async def test_what_can_not_be_shown_is_said(
    arguments: tuple[str, ...], code: int, reason: str
) -> None:
    ended, out, err = await run(*arguments)
    assert (ended, out) == (code, "") and reason in err


# --- watching -------------------------------------------------------------------------------------


class Terminal:
    """A window of 80 by 24 with `status --watch` in it; `text` is all that came."""

    def __init__(self, process: asyncio.subprocess.Process, window: int) -> None:
        self.process, self.text = process, ""
        self._window = window
        asyncio.get_running_loop().add_reader(window, self._read)

    def _read(self) -> None:
        try:
            self.text += os.read(self._window, 65536).decode(errors="replace")
        except OSError:  # nobody is at the other end any more
            self.close()

    def resize(self, width: int, height: int) -> None:
        size = struct.pack("HHHH", height, width, 0, 0)
        fcntl.ioctl(self._window, termios.TIOCSWINSZ, size)

    def type(self, keys: bytes) -> None:
        os.write(self._window, keys)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._window)

    async def shows(self, text: str) -> None:
        """From now on."""
        self.text = ""
        await eventually(lambda: text in self.text)


@asynccontextmanager
async def watching(place: str, **environment: str) -> AsyncIterator[Terminal]:
    window, inside = os.openpty()
    fcntl.ioctl(window, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent", "status", "--watch", "--socket", place),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", **environment},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(inside)
    terminal = Terminal(process, window)
    try:
        yield terminal
        async with asyncio.timeout(20):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        terminal.close()
        os.close(window)


ALTERNATE, BACK, CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"


async def test_it_is_watched_through_the_agents_absence_until_ctrl_c(tmp_path: Path) -> None:
    async with watching(str(tmp_path / "door.sock")) as terminal:
        await eventually(lambda: "waiting for it" in terminal.text)
        assert ALTERNATE in terminal.text
        async with standing_in(tmp_path) as door:
            door.by_path = lambda path: said(200, report(database=secret()))
            await terminal.shows("1 secret: 1 fresh")
        await terminal.shows("waiting for it")
        await terminal.shows("database")
        terminal.text = ""
        terminal.type(b"\x03")
    await eventually(lambda: BACK in terminal.text and CURSOR in terminal.text)
    assert terminal.process.returncode == 0
    assert "Traceback" not in terminal.text and "Aborted" not in terminal.text


async def test_another_size_is_another_picture_at_once(door: StandIn) -> None:
    async with watching(door.place) as terminal:
        await terminal.shows("renews now")
        assert "VERSION" not in terminal.text
        terminal.resize(120, 40)
        await terminal.shows("VERSION")
        terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.returncode == 128 + signal.SIGTERM
    await eventually(lambda: BACK in terminal.text)


async def test_who_wants_no_colour_has_none(door: StandIn) -> None:
    async with watching(door.place, NO_COLOR="1") as terminal:
        await terminal.shows("● fresh")
        assert not {f"\x1b[3{each}m" for each in range(8)} & set(terminal.text.split("●")[:1])
        assert "\x1b[32m" not in terminal.text
        terminal.type(b"\x03")
