"""What happens, as lines in colour, and what is to be remembered of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

STYLES = {
    "started": "bold",
    "logged_in": "bold green",
    "token_renewed": "green",
    "token_revoked": "green",
    "secret_read": "cyan",
    "lease_renewed": "blue",
    "lease_revoked": "blue",
    "bundle_published": "yellow",
    "bundle_notified": "magenta",
    "bundle_confirmed": "bold magenta",
    "process_started": "bold",
    "process_stopping": "bold",
    "process_ended": "bold",
    "ready": "bold",
    "stopping": "bold",
}


class Timeline:
    """Prints; counts the app's logins by user; `reached` waits for something to be so."""

    def __init__(self, console: Console) -> None:
        self.logins: Counter[str] = Counter()
        self.refusals: list[str] = []
        self.greetings: list[str] = []
        self.problems: list[str] = []
        self._console = console
        self._started_at = time.monotonic()
        self._changed = asyncio.Event()
        self._is_over = False

    def seconds(self) -> float:
        return time.monotonic() - self._started_at

    def has_used(self, users: int) -> bool:
        """The app has logged in as so many users, as the last of them more than once."""
        counts = list(self.logins.values())
        return len(counts) >= users and counts[-1] > 3

    def show(self, who: str, text: str, style: str = "") -> None:
        line = Text.assemble(
            (f"{self.seconds():6.1f} s  ", "dim"), (f"{who:<11}", "bold dim"), (text, style)
        )
        self._console.print(line, soft_wrap=True)

    async def reached(self, predicate: Callable[[], bool], *, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                while not predicate():
                    if self._is_over:
                        return False
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def follow(self, stream: asyncio.StreamReader) -> None:
        """Everything that the agent and the app say, until they end."""
        async for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            said = _parsed(line)
            if "app" in said:
                self._app(said)
            elif "message" in said:
                self._agent(said)
            elif line:
                self.problems.append(line)
                self.show("", line, "red")
            self._changed.set()
        self._is_over = True
        self._changed.set()

    def _agent(self, said: dict[str, Any]) -> None:
        event = str(said.get("event"))
        if event == "secret_read" and not said.get("is_changed"):
            return
        style = STYLES.get(event, "")
        if str(said.get("level")).lower() in ("warning", "error"):
            style = "red"
            self.problems.append(str(said["message"]))
        self.show("leasehold", str(said["message"]), style)

    def _app(self, said: dict[str, Any]) -> None:
        user = said["user"]
        match said["app"]:
            case "logged_in":
                if not self.logins[user]:
                    self.show("app", f"logged in to PostgreSQL as {user}", "bold green")
                self.logins[user] += 1
            case "loaded":
                self.greetings.append(said["greeting"])
                self.show("app", f"has read its files: {user}, “{said['greeting']}”", "magenta")
            case "refused":
                self.refusals.append(user)
                self.show("app", f"REFUSED by PostgreSQL as {user}: {said['error']}", "bold red")


def _parsed(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
