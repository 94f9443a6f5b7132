"""JWT/OIDC, and Kubernetes by the same shape: a signed token from a file that others replace."""

from __future__ import annotations

from agent.config.model import Jwt
from agent.stores.vault.auth import AuthMethod, Grant, granted
from agent.stores.vault.auth.credentials import CredentialSource
from agent.stores.vault.client import VaultClient


class JwtMethod:
    """Logs in with the JWT that is there now."""

    name = "jwt"

    def __init__(self, store: str, spec: Jwt) -> None:
        self._store, self._spec = store, spec
        self._source = CredentialSource(store, "jwt", spec.jwt_file, spec.jwt)
        self.watched = self._source.watched

    async def login(self, client: VaultClient) -> Grant:
        jwt = await self._source.read()
        login = client.auth.jwt.jwt_login(
            self._spec.role, jwt, use_token=False, path=self._spec.mount
        )
        return granted(await client.login(login), self._store, self.name)

    async def has_new_credential(self) -> bool:
        return await self._source.is_new()

    async def logged_in(self) -> None:
        return


def method(store: str, spec: Jwt) -> AuthMethod:
    return JwtMethod(store, spec)
