"""User name and password; `ldap` is the same exchange at another mount."""

from __future__ import annotations

from typing import Any

from agent.config.model import Ldap, UserPass
from agent.stores.vault.auth import AuthMethod, Grant, granted
from agent.stores.vault.auth.credentials import CredentialSource
from agent.stores.vault.client import VaultClient


class PasswordMethod:
    """Logs in with the password that is there now."""

    def __init__(self, name: str, store: str, spec: UserPass | Ldap) -> None:
        self.name = name
        self._store, self._spec = store, spec
        self._source = CredentialSource(store, "password", spec.password_file, spec.password)
        self.watched = self._source.watched

    async def login(self, client: VaultClient) -> Grant:
        password = await self._source.read()
        hvac_method: Any = getattr(client.auth, self.name)
        login = hvac_method.login(
            self._spec.username, password, use_token=False, mount_point=self._spec.mount
        )
        return granted(await client.login(login), self._store, self.name)

    async def has_new_credential(self) -> bool:
        return await self._source.is_new()

    async def logged_in(self) -> None:
        return


def method(store: str, spec: UserPass) -> AuthMethod:
    return PasswordMethod("userpass", store, spec)
