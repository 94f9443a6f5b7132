"""What the child of `leasehold run` is given, and what a change of it asks for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from agent.config.model import OnChangeSignal, Process

WITHHELD = frozenset(
    {
        *("VAULT_TOKEN", "BAO_TOKEN", "CREDENTIALS_DIRECTORY"),
        *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
        *("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"),
    }
)
"""The agent's own: its credentials, and its line to systemd."""


@dataclass(frozen=True, repr=False)
class Provision:
    """Variables, memory files by variable, and the generations of bundles that it reads.

    A memory file's variable gets its path.
    """

    environment: Mapping[str, str]
    memory_files: Mapping[str, bytes] = field(default_factory=dict)
    generations: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Provision {', '.join([*self.environment, *self.memory_files]) or 'empty'}>"


class Reaction(Enum):
    """What is done for a child that runs with an older provision."""

    NOTHING = auto()  # it has all of the new one
    LATER = auto()  # it gets the new one when it is next started
    SIGNAL = auto()
    RESTART = auto()


def reaction(spec: Process, old: Provision, new: Provision) -> Reaction:
    """What `on_change` asks for.

    A signal tells of new files only: the environment of a running process can't be changed, and
    a sealed memory file can't be either.
    """
    if new == old:
        return Reaction.NOTHING
    if spec.on_change == "none":
        return Reaction.LATER
    is_fixed = (old.environment, old.memory_files) == (new.environment, new.memory_files)
    if is_fixed and isinstance(spec.on_change, OnChangeSignal):
        return Reaction.SIGNAL
    return Reaction.RESTART


def inherited(environment: Mapping[str, str], withhold: Collection[str]) -> dict[str, str]:
    """What of the agent's environment the child may have."""
    return {name: environment[name] for name in environment.keys() - WITHHELD - set(withhold)}
