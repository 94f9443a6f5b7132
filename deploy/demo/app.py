"""An app that knows nothing of vaults: it reads its files, and reads them again on SIGHUP.

Twice a second it logs in to PostgreSQL with what it holds. Refused once, it gives up and ends
with 1. It says each thing that it does as a line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import psycopg

EVERY = 0.5
HOME = Path(os.environ["DEMO"])
SECRETS = HOME / "secrets"
SIGNALS = (signal.SIGHUP, signal.SIGTERM)


def say(what: str, **fields: object) -> None:
    print(json.dumps({"app": what, **fields}), flush=True)


def write(name: str, text: str) -> None:
    """Whole: a reader sees the old text or the new."""
    candidate = HOME / f"{name}.new"
    candidate.write_text(text + "\n")
    candidate.rename(HOME / name)


def load() -> dict[str, str]:
    """Everything from one generation, whose number is then there for whoever wants to know."""
    generation = (SECRETS / "..data").resolve()
    held: dict[str, str] = json.loads((generation / "database.json").read_text())
    held["greeting"] = (generation / "greeting").read_text()
    say("loaded", user=held["username"], greeting=held["greeting"])
    write("app.generation", str(int(generation.name.rpartition("-")[2])))
    return held


def log_in(held: dict[str, str]) -> None:
    with psycopg.connect(
        host=os.environ["DEMO_POSTGRES"],
        dbname="postgres",
        user=held["username"],
        password=held["password"],
    ) as connection:
        connection.execute("SELECT 1")
    say("logged_in", user=held["username"])


def main() -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    held = load()
    write("app.pid", str(os.getpid()))
    while True:
        try:
            log_in(held)
        except psycopg.Error as error:
            say("refused", user=held["username"], error=str(error).strip())
            return 1
        came = signal.sigtimedwait(SIGNALS, EVERY)
        if came is not None and came.si_signo == signal.SIGTERM:
            return 0
        if came is not None:
            held = load()


if __name__ == "__main__":
    sys.exit(main())
