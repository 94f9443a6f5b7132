"""AppRole: role-id and secret-id, the latter perhaps response-wrapped and removed after use."""

from __future__ import annotations

import re
from pathlib import Path

from agent.config.model import AppRole
from agent.core.errors import Denied, Invalid, Missing, NotLoggedIn
from agent.stores.vault.auth import AuthMethod, Grant, granted
from agent.stores.vault.auth.credentials import CredentialSource
from agent.stores.vault.client import VaultClient


class AppRoleMethod:
    """Keeps the secret-id in memory: it must serve again after its file is gone.

    A file that is there wins over what is kept, so that a new secret-id can be handed in at any
    time.
    """

    name = "approle"

    def __init__(self, store: str, spec: AppRole) -> None:
        self._store, self._spec = store, spec
        self._role_id = CredentialSource(store, "role-id", spec.role_id_file, spec.role_id)
        self._source = CredentialSource(store, "secret-id", spec.secret_id_file, spec.secret_id)
        self._kept: str | None = None
        self._handed_in: str | None = None
        self.watched: tuple[Path, ...] = self._role_id.watched + self._source.watched

    async def has_new_credential(self) -> bool:
        return await self._role_id.is_new() or await self._source.is_new()

    async def login(self, client: VaultClient) -> Grant:
        role_id = await self._role_id.read()
        secret_id = await self._secret_id(client)
        auth = await client.login(
            client.auth.approle.login(
                role_id, secret_id, use_token=False, mount_point=self._spec.mount
            )
        )
        return granted(auth, self._store, self.name)

    async def logged_in(self) -> None:
        if self._spec.remove_secret_id_file and self._handed_in is not None:
            await self._source.remove(self._handed_in)

    async def _secret_id(self, client: VaultClient) -> str:
        try:
            handed_in = await self._source.read()
        except NotLoggedIn:
            if self._kept is None:
                raise
            return self._kept
        if not self._spec.secret_id_wrapped:
            self._kept = handed_in
        elif self._kept is None or handed_in != self._handed_in:  # a wrapping is good only once
            self._kept = await self._unwrapped(client, handed_in)
        self._handed_in = handed_in
        return self._kept

    async def _unwrapped(self, client: VaultClient, wrapping_token: str) -> str:
        """The secret-id out of its wrapping; refused if it was not wrapped where it should be."""
        try:
            lookup = await client.lookup_wrapping(wrapping_token)
        except (Denied, Invalid, Missing):
            raise self._failure(
                "the wrapping token is not valid: it has ended, or somebody has unwrapped it "
                "before (then the secret-id is in foreign hands: revoke it)"
            ) from None
        created_at = str(lookup.fields.get("creation_path", ""))
        if not re.fullmatch(self._expected_path(), created_at):
            raise self._failure(
                f"the wrapping token was created at {created_at!r}, not at "
                f"{self._spec.wrapped_path or f'auth/{self._spec.mount}/role/<role>/secret-id'}: "
                "somebody may have replaced it"
            )
        answer = await client.with_token(wrapping_token).unwrap()
        secret_id = answer.fields.get("secret_id")
        if not isinstance(secret_id, str) or not secret_id:
            raise self._failure("the wrapping held no secret_id")
        return secret_id

    def _expected_path(self) -> str:
        if self._spec.wrapped_path is not None:
            return re.escape(self._spec.wrapped_path.strip("/"))
        return rf"auth/{re.escape(self._spec.mount.strip('/'))}/role/[^/]+/secret-id"

    def _failure(self, reason: str) -> NotLoggedIn:
        return NotLoggedIn("log in", self._store, "secret-id", reason)


def method(store: str, spec: AppRole) -> AuthMethod:
    return AppRoleMethod(store, spec)
