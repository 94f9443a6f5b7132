"""A token that somebody else provides; it is looked up, followed when replaced, never revoked."""

from __future__ import annotations

from agent.config.model import TokenFile
from agent.core.errors import Denied, NotLoggedIn
from agent.stores.vault.auth import AuthMethod, Grant
from agent.stores.vault.auth.credentials import CredentialSource
from agent.stores.vault.client import VaultClient


class TokenFileMethod:
    """`login` is a look at the token that is there now."""

    name = "token_file"

    def __init__(self, store: str, spec: TokenFile) -> None:
        self._store = store
        self._source = CredentialSource(store, "token", spec.token_file, spec.token)
        self.watched = self._source.watched

    async def login(self, client: VaultClient) -> Grant:
        token = await self._source.read()
        try:
            answer = await client.with_token(token).lookup_self()
        except Denied:
            raise NotLoggedIn("log in", self._store, "token", "the token is not valid") from None
        data = answer.get("data") or {}
        ttl = float(data.get("ttl") or 0)
        return Grant(
            token=token,
            id=str(data.get("accessor") or "unnamed"),
            ttl=ttl or None,
            is_renewable=bool(data.get("renewable")),
            is_ours=False,
        )

    async def logged_in(self) -> None:
        return


def method(store: str, spec: TokenFile) -> AuthMethod:
    return TokenFileMethod(store, spec)
