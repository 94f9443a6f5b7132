"""`leasehold health`: what it says of each answer, and of none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.door import answering, http, leasehold_at
from tests.rig.processes import free_port

HEAVY = {"aiohttp", "asyncio", "hvac", "jinja2", "rich", "cryptography"}


def said_of(folder: Path, status: str, body: str, *flags: str) -> tuple[int, str, str, bytes]:
    """Exit code, output and errors, and the request that an answer with this was given to."""
    requests: list[bytes] = []
    with answering(folder, http(status, body, "application/json"), requests) as telemetry:
        said = leasehold_at(folder, telemetry, "health", *flags)
    return *said, requests[0]


@pytest.mark.parametrize(
    ("flag", "path", "word"),
    [
        ((), "/readyz", "ready"),
        (("--live",), "/livez", "live"),
        (("--started",), "/startupz", "started"),
    ],
)
def test_each_question_has_its_path(
    tmp_path: Path, flag: tuple[str, ...], path: str, word: str
) -> None:
    code, out, err, request = said_of(tmp_path, "200 OK", '{"ok":true,"missing":[]}', *flag)
    assert (code, out, err) == (0, f"{word}\n", "")
    assert request.startswith(f"GET {path} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            "503 Service Unavailable",
            '{"ok":false,"missing":["bundle app","process"]}',
            "not ready: bundle app, process missing",
        ),
        ("503 Service Unavailable", '{"ok":false,"missing":[]}', "not ready"),
        ("200 OK", "welcome", "what answers there is no leasehold agent"),
        ("404 Not Found", '{"ok":true}', "what answers there is no leasehold agent"),
    ],
)
def test_everything_else_is_a_failure_that_is_said(
    tmp_path: Path, status: str, body: str, said: str
) -> None:
    code, out, err, _ = said_of(tmp_path, status, body)
    assert (code, out, err) == (1, "", f"leasehold: {said}\n")


def test_nobody_there(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    said = f"leasehold: nobody listens at {address}; is the agent running?\n"
    assert leasehold_at(tmp_path, {"address": address}, "health") == (1, "", said)


def test_without_telemetry_there_is_no_way_to_ask(tmp_path: Path) -> None:
    code, out, err = leasehold_at(tmp_path, None, "health")
    assert (code, out) == (2, "")
    assert err.startswith("telemetry: is needed to ask the running agent")


def test_a_place_that_is_named_needs_no_configuration(tmp_path: Path) -> None:
    with answering(tmp_path, http("200 OK", '{"ok":true}', "application/json")) as telemetry:
        assert asked("--socket", telemetry["socket"]) == (0, "ready\n", "")
    code, _, err = asked("--socket", str(tmp_path / "none"), "--live")
    assert code == 1 and "nobody listens" in err


@pytest.mark.parametrize("place", [("--address", "nowhere"), ("--socket", "a", "-c", "b")])
def test_one_place_has_to_be_named(place: tuple[str, ...]) -> None:
    code, out, err = asked("--ready", *place)
    assert (code, out) == (2, "") and err.startswith("Usage: ")


def test_it_is_light() -> None:
    program = (
        "import sys, agent.cli.health, agent.config.load; print(*{n.partition('.')[0] for n in "
        "sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and not HEAVY & set(done.stdout.split()), done.stdout + done.stderr


def asked(*arguments: str) -> tuple[int, str, str]:
    """`leasehold health ARGUMENTS`."""
    command = [sys.executable, "-m", "agent", "health", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr
