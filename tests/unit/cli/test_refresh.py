"""`leasehold refresh` where there is no agent, or none that can be asked."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.rig.door import answering, http, leasehold_at
from tests.rig.processes import free_port


def refresh(folder: Path, telemetry: object, *names: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the real command."""
    return leasehold_at(folder, telemetry, "refresh", *names)


@pytest.mark.parametrize("where", ["socket", "stale socket", "address"])
def test_an_agent_that_does_not_run_is_said(tmp_path: Path, where: str) -> None:
    door = tmp_path / "door.sock"
    if where == "stale socket":
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(door))
    telemetry = {"socket": str(door)}
    if where == "address":
        telemetry = {"address": f"127.0.0.1:{free_port()}"}
    shown = next(iter(telemetry.values()))
    assert refresh(tmp_path, telemetry) == (
        1,
        "",
        f"leasehold: nobody listens at {shown}; is the agent running?\n",
    )


def test_without_telemetry_there_is_no_way_to_ask(tmp_path: Path) -> None:
    code, out, err = refresh(tmp_path, None)
    assert (code, out) == (2, "")
    assert err.startswith("telemetry: is needed to ask the running agent")


def test_a_bad_configuration_is_reported_as_ever(tmp_path: Path) -> None:
    code, _, err = refresh(tmp_path, {"address": "nowhere"})
    assert code == 2 and "telemetry.address" in err


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (http("202 Accepted", '{"asked":["app"]}', "application/json"), 0, ""),
        (
            http("404 Not Found", '{"detail":"no secret of this name: x"}', "application/json"),
            2,
            "Error: no secret of this name: x\n",
        ),
        (
            http("404 Not Found", "not found\n", "text/plain"),
            1,
            "leasehold: the agent refused: status 404; is it an older version?\n",
        ),
        (
            http("403 Forbidden", '{"detail":"only on a socket"}', "application/json"),
            1,
            "leasehold: the agent refused: only on a socket\n",
        ),
        (b"SSH-2.0-OpenSSH\r\n", 1, "leasehold: what listens at {} is no leasehold agent\n"),
        (b"", 1, "leasehold: can't ask the agent at {}: Remote end closed connection"),
    ],
    ids=["accepted", "unknown", "older", "refused", "ssh", "closed"],
)
def test_what_is_answered_is_told(tmp_path: Path, answer: bytes, code: int, said: str) -> None:
    with answering(tmp_path, answer) as telemetry:
        ended, out, err = refresh(tmp_path, telemetry, "app")
    assert ended == code
    assert out == ("reading again: app\n" if code == 0 else "")
    assert said.format(telemetry["socket"]) in err and bool(err) == bool(said)
