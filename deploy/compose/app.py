"""An app that could be anybody's: reads its settings from a file, and again when it is told to.

It is told by SIGHUP or by POST /-/reload; GET /health says which settings it works with. Its log is
JSON, and never has the password in it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FILE = Path(os.environ.get("SETTINGS_FILE", "/run/secrets/app/settings.json"))
HOST, PORT = os.environ.get("HOST", ""), int(os.environ.get("PORT", "8080"))

current: dict[str, Any] = {}


def load(why: str) -> None:
    current.update(json.loads(FILE.read_text()))
    say("loaded", label=current["label"], why=why)


def say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


class Door(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(200 if self.path == "/health" else 404, {"label": current["label"]})

    def do_POST(self) -> None:
        if self.path == "/-/reload":
            load("POST")
        self._answer(200 if self.path == "/-/reload" else 404, {})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Its log has better things to say."""


def main() -> None:
    # As process 1 it has no default for a signal: what is not handled is ignored.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGHUP, lambda *_: load("SIGHUP"))
    say("waiting", file=str(FILE))
    while not FILE.exists():
        threading.Event().wait(0.2)
    load("start")
    ThreadingHTTPServer((HOST, PORT), Door).serve_forever()


main()
