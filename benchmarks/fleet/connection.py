"""The model vault behind the agent's own Vault store: what `transport.Connection` is, in memory."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import Any

from agent.core.errors import Denied, Outage, Sealed, StoreError
from agent.stores.vault.replies import Answer, Granted
from benchmarks.fleet.load import Origin
from benchmarks.fleet.looking import TIMEOUT
from benchmarks.fleet.loop import WALL
from benchmarks.fleet.vault import Answer as Outcome
from benchmarks.fleet.vault import Vault, What

WAYS = {
    "auth/approle/login": What.LOGIN,
    "auth/token/renew-self": What.RENEW,
    "auth/token/lookup-self": What.LOOK_UP,
    "sys/leases/renew": What.RENEW,
    "sys/health": What.HEALTH,
}
MOUNTS = {"kv": "kv", "database": "database", "pki": "pki"}
NO_ANSWERS: dict[Outcome, tuple[type[StoreError], str]] = {
    Outcome.NONE: (Outage, "no answer"),
    Outcome.SEALED: (Sealed, "503"),
    Outcome.DENIED: (Denied, "403"),
}


class ModelConnection:
    """One agent's connection. A token's name tells its epoch."""

    base = "http://model"
    namespace = None
    tls_files: tuple[Path, ...] = ()

    def __init__(self, vault: Vault, origin: Origin, numbers: count[int]) -> None:
        self._vault, self._origin, self._numbers = vault, origin, numbers

    async def send(
        self,
        method: str,
        path: str,
        *,
        token: str | None,
        headers: dict[str, str],
        timeout: float | None = None,
        **body: Any,
    ) -> Answer:
        """As `transport.Connection.send`."""
        path = path.removeprefix("/v1/")
        what = WAYS.get(path, What.READ)
        asked_at = self._vault.world.now
        heard: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        epoch = int(token.partition("-")[0]) if token else 0
        patience = timeout or TIMEOUT
        self._vault.ask(what, _tell, heard, epoch=epoch, patience=patience)
        outcome = await heard
        if outcome is not Outcome.GOOD:
            kind, reason = NO_ANSWERS[outcome]
            raise kind(method, "vault", path, reason)
        return self._answer(path, asked_at)

    async def close(self) -> None:
        """There is nothing to close."""

    def _answer(self, path: str, asked_at: float) -> Answer:
        number, terms = next(self._numbers), self._origin.terms
        if path in ("auth/approle/login", "auth/token/renew-self"):
            token = f"{self._vault.epoch}-{number}"
            granted = Granted(token, f"accessor-{number}", terms.token, renewable=True)
            return Answer(auth=granted)
        if path == "sys/leases/renew":
            return Answer(lease_id="renewed", lease_duration=terms.lease, renewable=True)
        if path in WAYS:
            return Answer(data={"ttl": terms.token, "renewable": True})
        if path.startswith("sys/internal/ui/mounts/"):
            mount = path.split("/")[4]
            return Answer(data={"path": mount, "type": MOUNTS[mount], "options": {"version": "2"}})
        return self._secret(path, number, asked_at)

    def _secret(self, path: str, number: int, asked_at: float) -> Answer:
        terms = self._origin.terms
        if path.startswith("kv/data/"):
            return Answer(data={"data": {"value": "v"}, "metadata": {"version": 1}})
        if path.startswith("database/creds/"):
            name = f"{path}/{number}"
            return Answer({"username": name}, None, name, terms.lease, renewable=True)
        if path.startswith("database/static-creds/"):
            left = self._origin.left(asked_at)
            return Answer({"password": "p", "ttl": left, "last_vault_rotation": "then"})
        if path.startswith("pki/issue/"):
            ends = WALL + asked_at + terms.certificate
            fields = {"certificate": "c", "serial_number": str(number), "expiration": ends}
            return Answer(fields)
        raise AssertionError(f"the model has nothing at {path}")


def _tell(heard: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not heard.done():
        heard.set_result(outcome)
