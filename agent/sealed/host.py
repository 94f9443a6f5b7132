"""Which host this is, and which of its boots: what a book is bound to. Blocks."""

from __future__ import annotations

import hashlib
import re
import socket
from pathlib import Path

import msgspec

from agent.core.errors import AgentError

MACHINE_ID = Path("/etc/machine-id")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_MACHINE_ID = re.compile(r"[0-9a-f]{32}")


class Host(msgspec.Struct, frozen=True):
    """`id` tells one host from another, and is not the machine-id itself, which is not to be
    handed around. `boot` is empty where it can't be told: no two boots are the same then.
    """

    id: str
    boot: str


def this_host(*, machine_id: Path = MACHINE_ID, boot_id: Path = BOOT_ID) -> Host:
    """The machine-id; without one (most containers have none, or an empty one) the host name."""
    machine = _text(machine_id)
    named = f"machine {machine}" if _MACHINE_ID.fullmatch(machine) else f"name {_name()}"
    digest = hashlib.sha256(f"leasehold sealed cache, {named}".encode()).hexdigest()
    return Host(digest, _text(boot_id))


def _name() -> str:
    name = socket.gethostname()
    if not name:
        raise AgentError("the cache is bound to its host, and this one has no machine-id, no name")
    return name


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
