"""A Vault-compatible door before a real server, at its real listener."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agent.api.access import Rules
from agent.api.http import HttpServer, Request
from agent.api.listener import Listener
from agent.api.vault import VaultDoor
from agent.config.listener_model import PathRule, VaultListener, VaultRule
from agent.config.model import SecretEntry
from agent.core.clock import Clock, SystemClock
from agent.ledger import Ledger
from agent.stores.base import ReadRequest
from agent.stores.vault.store import Vault
from tests.rig.processes import free_port
from tests.rig.stores import Recorder

STORE = "vault"


def entry(path: str, **more: Any) -> SecretEntry:
    """A secret of the door's store."""
    return SecretEntry(path=path, store=STORE, **more)


def paths(rules: Mapping[str, Sequence[str]]) -> tuple[PathRule, ...]:
    """Capabilities by path."""
    return tuple(PathRule(path=path, capabilities=tuple(each)) for path, each in rules.items())  # type: ignore[arg-type]


class OpenDoor:
    """One that listens. `audited` are its requests with the status of each answer."""

    def __init__(self, store: Vault, spec: VaultListener, rules: Rules) -> None:
        self.store, self.spec = store, spec
        self.clock: Clock = SystemClock()
        self.ledger = Ledger(self.clock)
        self.audited: list[tuple[Any, int]] = []
        self.defects: list[Exception] = []
        self.rules = rules
        self._passing = store.passing()
        self.door = VaultDoor(
            "vault door",
            spec,
            self.ledger,
            rules=lambda: self.rules,
            upstream=lambda: self._passing,
            clock=self.clock,
        )

    @property
    def address(self) -> str:
        """As VAULT_ADDR has it."""
        return f"http://{self.spec.address}" if self.spec.address else f"unix://{self.spec.socket}"

    async def hold(self, **entries: SecretEntry) -> None:
        """Read these from the server, and serve them."""
        self.door.use(self.spec, entries)
        for name, each in entries.items():
            await self.read_again(name, each)

    async def read_again(self, name: str, each: SecretEntry) -> None:
        reading = await self.store.read(ReadRequest(each.path, each.data, each.version))
        lease = reading.lease
        self.ledger.record(name, reading, None if lease is None else lease.term.ends_at)

    def audit(self, request: Request, status: int, done: Callable[[bool], None]) -> None:
        self.audited.append((request.record, status))
        done(True)


@asynccontextmanager
async def vault_door(store: Vault, *allow: VaultRule, **spec: Any) -> AsyncIterator[OpenDoor]:
    """A door at `socket` (with `socket=`), else on TCP."""
    if "socket" not in spec:
        spec["address"] = f"127.0.0.1:{free_port()}"
    rules = await asyncio.to_thread(Rules, allow)
    opened = OpenDoor(store, VaultListener(store=STORE, allow=allow, **spec), rules)
    async with asyncio.TaskGroup() as group:
        server = HttpServer(
            opened.door,
            clock=opened.clock,
            spawn=group.create_task,
            audit=opened.audit,
            on_defect=opened.defects.append,
        )
        told = Recorder()
        listener = Listener(opened.spec, opened.rules, server, clock=opened.clock, emit=told)
        running = group.create_task(listener.run(), name="listener")
        await listener.listening.wait()
        try:
            yield opened
        finally:
            running.cancel()
            await asyncio.wait([running])
    assert not opened.defects, opened.defects
