"""Commands that ask the running agent, and something in its place that answers as it is told."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
REST = {
    "stores": {"local": {"type": "local", "file": "sealed", "key": {"file": "key"}}},
    "secrets": {"app": {"path": "app"}},
}


def leasehold_at(folder: Path, telemetry: object, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the real command, with this telemetry configured."""
    file = folder / "leasehold.yaml"
    file.write_text(yaml.safe_dump(REST | ({"telemetry": telemetry} if telemetry else {})))
    ran = subprocess.run(
        [sys.executable, "-m", "agent", *arguments, "-c", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )
    return ran.returncode, ran.stdout, ran.stderr


@contextmanager
def answering(
    folder: Path, answer: bytes, requests: list[bytes] | None = None
) -> Iterator[dict[str, str]]:
    """Something that listens at a socket and answers once, whatever it is asked; `requests` gets
    that."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "door.sock"))
        listening.listen()

        def serve() -> None:
            visitor, _ = listening.accept()
            with visitor:
                asked = visitor.recv(65536)
                while not asked.endswith(b"}") and not is_whole(asked):
                    asked += visitor.recv(65536)
                if requests is not None:
                    requests.append(asked)
                visitor.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield {"socket": str(folder / "door.sock")}
        thread.join()


def is_whole(asked: bytes) -> bool:
    """Whether this is a GET; what else is asked here has a body."""
    return asked.startswith(b"GET ") and asked.endswith(b"\r\n\r\n")


def http(status: str, body: str, kind: str) -> bytes:
    """An answer, whole."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
