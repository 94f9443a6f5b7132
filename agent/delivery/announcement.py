"""What a notification, a proof or a check is about, and how a command is told of it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agent.core.errors import DeliveryError
from agent.core.events import duration
from agent.delivery.process.spawn import run_command

PASSED_ON = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"}
)
"""What a command gets of the agent's environment, besides LC_*; the rest may hold credentials."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PLACEHOLDER = re.compile(r"\{(bundle|directory|generation)\}")


class Announcement(msgspec.Struct, frozen=True):
    """Generation `generation` of `bundle` is in `directory`: the bundle's, or a candidate's."""

    bundle: str
    directory: Path
    generation: int

    def arguments(self, command: Sequence[str]) -> list[str]:
        """The command with `{bundle}`, `{directory}` and `{generation}` filled in."""
        return [_PLACEHOLDER.sub(lambda found: self._named[found[1]], each) for each in command]

    def environment(self) -> dict[str, str]:
        """All that a command sees: LEASEHOLD_* and a few harmless variables of the agent's."""
        told = {f"LEASEHOLD_{name.upper()}": value for name, value in self._named.items()}
        return harmless_environment() | told

    @property
    def _named(self) -> dict[str, str]:
        return {
            "bundle": self.bundle,
            "directory": str(self.directory),
            "generation": str(self.generation),
        }


def harmless_environment() -> dict[str, str]:
    """The part of the agent's environment that holds no credential, with a PATH in any case."""
    kept = {k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith("LC_")}
    return {"PATH": DEFAULT_PATH} | kept


def named(command: Sequence[str]) -> str:
    """The command in a log: its program, because arguments may come from the environment."""
    return f"command {command[0]}"


async def failure(command: Sequence[str], announcement: Announcement, timeout: float) -> str | None:
    """Run the command; None if it ended with 0, else why not ("exit code 3").

    What it printed is not told: it may well hold the secret that it was looking at.
    """
    try:
        ended = await run_command(
            announcement.arguments(command),
            environment=announcement.environment(),
            timeout=timeout,
        )
    except DeliveryError as error:
        return error.reason
    if ended.is_timeout:
        return f"no end within {duration(timeout)}"
    return f"exit code {ended.code}" if ended.code else None
