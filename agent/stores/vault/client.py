"""The part of hvac that is sound over an asynchronous adapter, bound to one token.

Every hvac method named here returns the adapter's answer as it is, so that over ours it returns a
coroutine. Methods that look into the answer first (`is_authenticated`, `delete`, `revoke_token`,
`read` on 404 …) are not in this list, and nobody else calls hvac.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

from agent.stores.vault.lean_hvac import hvac
from agent.stores.vault.replies import Answer, Granted
from agent.stores.vault.transport import HEALTH, AiohttpAdapter, Connection

HEALTH_TIMEOUT = 2.0
"""Seconds; a server that takes longer for this is as good as down, and is asked again soon."""


class VaultClient:
    """Requests with one token, or with none. Raises `StoreError`s."""

    def __init__(self, connection: Connection, token: str | None = None) -> None:
        self._hvac = hvac.Client(
            url=connection.base,
            token=token or "",  # None would make hvac look for a token of its own
            verify=True,
            adapter=lambda **_: AiohttpAdapter(connection, token),
        )
        self.auth = self._hvac.auth
        self._connection = connection

    def with_token(self, token: str) -> VaultClient:
        """The same connections with another token."""
        return VaultClient(self._connection, token)

    async def read(self, path: str) -> Answer:
        return await self._answer(self._hvac.adapter.get(f"/v1/{quote(path)}"))

    async def write(self, path: str, data: Mapping[str, Any]) -> Answer:
        return await self._answer(self._hvac.write_data(quote(path), data=dict(data)))

    async def read_kv2(self, mount: str, path: str, version: int | None) -> Answer:
        return await self._answer(
            self._hvac.secrets.kv.v2.read_secret_version(
                path, version=version, mount_point=mount, raise_on_deleted_version=True
            )
        )

    async def mount_of(self, path: str) -> Answer:
        return await self._answer(
            self._hvac.adapter.get(f"/v1/sys/internal/ui/mounts/{quote(path)}")
        )

    async def health(self) -> Answer:
        """Raises `Outage` unless the server, or the standby, can serve."""
        return await self._answer(
            self._hvac.adapter.get(
                HEALTH,
                params={"standbyok": "true", "perfstandbyok": "true"},
                timeout=HEALTH_TIMEOUT,
            )
        )

    async def renew_lease(self, lease_id: str, increment: int) -> Answer:
        return await self._answer(self._hvac.sys.renew_lease(lease_id, increment=increment))

    async def revoke_lease(self, lease_id: str) -> None:
        await self._answer(self._hvac.sys.revoke_lease(lease_id))

    async def lookup_self(self) -> Answer:
        return await self._answer(self._hvac.auth.token.lookup_self())

    async def renew_self(self, increment: int) -> Answer:
        return await self._answer(self._hvac.auth.token.renew_self(increment=increment))

    async def revoke_self(self) -> None:
        await self._answer(self._hvac.auth.token.revoke_self())

    async def lookup_wrapping(self, token: str) -> Answer:
        return await self._answer(
            self._hvac.adapter.post("/v1/sys/wrapping/lookup", json={"token": token})
        )

    async def unwrap(self) -> Answer:
        """What is wrapped in this client's token."""
        return await self._answer(self._hvac.sys.unwrap())

    async def login(self, coroutine: Any) -> Granted:
        """The `auth` part of the answer to one of hvac's `auth.<method>.login` calls."""
        return (await self._answer(coroutine)).auth or Granted()

    async def _answer(self, coroutine: Any) -> Answer:
        return cast(Answer, await coroutine)
