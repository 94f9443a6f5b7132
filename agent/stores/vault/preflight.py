"""Which mount a path belongs to, asked once per mount; for KV it decides the path's shape."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from agent.core.clock import Clock
from agent.stores.vault.replies import Answer

DOUBT_AFTER = 300.0
"""Seconds for which an answer is not asked for again, however many paths below are missing."""


class Mount(msgspec.Struct, frozen=True):
    """A secrets engine: its path without slashes at the ends, its type, the version if it is KV."""

    path: str
    type: str
    kv_version: int | None

    def rest(self, path: str) -> str:
        """What is left of a path below this mount."""
        return path.strip("/")[len(self.path) :].strip("/")


class Preflight:
    """Remembers answers, never failures. Paths that share a first part wait for one question."""

    def __init__(self, ask: Callable[[str], Awaitable[Answer]], clock: Clock) -> None:
        self._ask, self._clock = ask, clock
        self._mounts: dict[str, Mount] = {}
        self._asked_at: dict[str, float] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def mount(self, path: str) -> Mount:
        """The mount of an API path; a StoreError if the server does not tell."""
        path = path.strip("/")
        if (known := self._known(path)) is not None:
            return known
        async with self._asking.setdefault(path.split("/")[0], asyncio.Lock()):
            if (known := self._known(path)) is None:
                known = _mount(path, (await self._ask(path)).fields)
                self._mounts[known.path] = known
                self._asked_at[known.path] = self._clock.now()
            return known

    def doubt(self, mount: Mount) -> None:
        """Nothing was where it should be: the mount may have been moved or upgraded since."""
        if self._clock.now() - self._asked_at.get(mount.path, 0.0) > DOUBT_AFTER:
            self._mounts.pop(mount.path, None)

    def _known(self, path: str) -> Mount | None:
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            if (mount := self._mounts.get("/".join(parts[:end]))) is not None:
                return mount
        return None


def _mount(path: str, data: dict[str, Any]) -> Mount:
    kind = str(data.get("type") or "")
    options = data.get("options")
    options = options if isinstance(options, dict) else {}
    version = (2 if str(options.get("version", "1")) == "2" else 1) if kind == "kv" else None
    return Mount(str(data.get("path") or path.split("/")[0]).strip("/"), kind, version)
