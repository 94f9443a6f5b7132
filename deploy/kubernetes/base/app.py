"""The example's app: it works with the secret in its files, and follows when that is replaced.

`GET /` tells what it works with (never a value), `GET /health` is 200 once it works with anything.
It looks for a new generation every second; with `PID_FILE` it waits to be told by SIGHUP instead;
with `LEASEHOLD_SOCKET` it says through the agent's secrets API that it works with a generation, and
`GET /asked` is what that API has for it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DIRECTORY = Path(os.environ["SECRETS_DIRECTORY"])
PID_FILE = os.environ.get("PID_FILE")
SOCKET = os.environ.get("LEASEHOLD_SOCKET")
EVERY_SECONDS = 1.0
ASK_SECONDS = 10.0

working_with: dict[str, object] = {}
told = threading.Event()


def load() -> bool:
    """Take up the current generation; whether it is another. The link first, then its files."""
    generation = (DIRECTORY / "..data").readlink().name
    if generation == working_with.get("generation"):
        return False
    files = DIRECTORY / generation
    credential = json.loads((files / "database.json").read_text())
    # Here a real app makes a new pool of connections, and closes the old one behind it.
    working_with["username"] = credential["username"]
    working_with["version"] = (files / "version").read_text()
    working_with["generation"] = generation
    print(json.dumps({"event": "working_with", **working_with}), flush=True)
    return True


def follow() -> None:
    """Until the end: load what is new, and say so."""
    while True:
        told.wait(None if PID_FILE else EVERY_SECONDS)
        told.clear()
        if load() and SOCKET:
            confirm()


def confirm() -> None:
    """The agent revokes the former credential only after this, or puts it back without it."""
    number = int(str(working_with["generation"]).removeprefix("..gen-"))
    try:
        ask("POST", "/v1/bundles/app/confirm", json.dumps({"generation": number}))
    except (OSError, HTTPException) as error:
        print(json.dumps({"event": "not_confirmed", "reason": str(error)}), flush=True)


def ask(method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    """One request to the secrets API at the agent's socket."""
    connection = HTTPConnection("localhost", timeout=ASK_SECONDS)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(ASK_SECONDS)
    try:
        connection.sock.connect(SOCKET or "")
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/asked" and SOCKET:
            self._answer(*ask("GET", "/v1/secrets"))
        else:
            self._answer(200 if working_with else 503, json.dumps(working_with).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Probes are not worth a line."""


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, lambda *_: told.set())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if PID_FILE:
        Path(PID_FILE).write_text(f"{os.getpid()}\n")
    if load() and SOCKET:
        confirm()
    threading.Thread(target=follow, daemon=True).start()
    ThreadingHTTPServer(("", 8080), Page).serve_forever()
