"""A token that somebody else provides; it is looked up, followed when replaced, never revoked."""

from __future__ import annotations

from agent.config.model import TokenFile
from agent.core.errors import Denied, NotLoggedIn
from agent.stores.vault.auth import AuthMethod, Grant, unnamed
from agent.stores.vault.auth.credentials import CredentialSource
from agent.stores.vault.client import VaultClient
from agent.stores.vault.replies import number


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
        ttl = number(answer.fields.get("ttl"))
        increment = number(answer.fields.get("period")) or number(answer.fields.get("creation_ttl"))
        return Grant(
            token=token,
            id=str(answer.fields.get("accessor") or unnamed(token)),
            ttl=ttl or None,
            is_renewable=bool(answer.fields.get("renewable")),
            is_ours=False,
            increment=max(ttl, increment),
            uses=int(number(answer.fields.get("num_uses"))),
        )

    async def has_new_credential(self) -> bool:
        return await self._source.is_new()

    async def logged_in(self) -> None:
        return


def method(store: str, spec: TokenFile) -> AuthMethod:
    return TokenFileMethod(store, spec)
