"""A connection as systemd makes it for LoadCredential=, or as somebody else makes it."""

from __future__ import annotations

import asyncio
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_threads = ThreadPoolExecutor(64, thread_name_prefix="systemd")
"""Of its own: those who wait here must not keep the agent's own calls waiting."""

FAILURE = bytes((1 << 20) + 1)
"""More than systemd takes: the unit fails."""


def bound_name(unit: str, credential: str, number: int | None = None) -> bytes:
    """Abstract, as systemd binds it; with another number each time, or only one process may ask."""
    number = secrets.randbits(64) if number is None else number
    return f"\0{number:x}/unit/{unit}/{credential}".encode()


async def loaded(path: Path, name: bytes | None) -> bytes:
    """All that comes, to the end of the stream."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _loaded, path, name)


def _loaded(path: Path, name: bytes | None) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        if name is not None:
            connection.bind(name)
        connection.settimeout(20)
        connection.connect(str(path))
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
        return b"".join(parts)
