"""`leasehold refresh` where there is no agent, or none that can be asked."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.rig.processes import free_port

ROOT = Path(__file__).parents[3]
REST = {
    "stores": {"local": {"type": "local", "file": "sealed", "key": {"file": "key"}}},
    "secrets": {"app": {"path": "app"}},
}


def refresh(folder: Path, telemetry: object, *names: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the real command."""
    file = folder / "leasehold.yaml"
    file.write_text(yaml.safe_dump(REST | ({"telemetry": telemetry} if telemetry else {})))
    ran = subprocess.run(
        [sys.executable, "-m", "agent", "refresh", *names, "-c", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )
    return ran.returncode, ran.stdout, ran.stderr


@contextmanager
def answering(folder: Path, answer: bytes) -> Iterator[dict[str, str]]:
    """Something that listens at a socket and answers once, whatever it is asked."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "door.sock"))
        listening.listen()

        def serve() -> None:
            visitor, _ = listening.accept()
            with visitor:
                asked = visitor.recv(65536)
                while not asked.endswith(b"}"):
                    asked += visitor.recv(65536)
                visitor.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield {"socket": str(folder / "door.sock")}
        thread.join()


def http(status: str, body: str, kind: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


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
