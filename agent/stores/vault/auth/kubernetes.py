"""Kubernetes: the pod's projected service-account token."""

from __future__ import annotations

from agent.config.model import Kubernetes
from agent.stores.vault.auth import AuthMethod, Grant, granted
from agent.stores.vault.auth.credentials import CredentialSource
from agent.stores.vault.client import VaultClient


class KubernetesMethod:
    """Logs in with the service-account token that is there now."""

    name = "kubernetes"

    def __init__(self, store: str, spec: Kubernetes) -> None:
        self._store, self._spec = store, spec
        self._source = CredentialSource(store, "jwt", spec.jwt_file, None)
        self.watched = self._source.watched

    async def login(self, client: VaultClient) -> Grant:
        jwt = await self._source.read()
        login = client.auth.kubernetes.login(
            self._spec.role, jwt, use_token=False, mount_point=self._spec.mount
        )
        return granted(await client.login(login), self._store, self.name)

    async def has_new_credential(self) -> bool:
        return await self._source.is_new()

    async def logged_in(self) -> None:
        return


def method(store: str, spec: Kubernetes) -> AuthMethod:
    return KubernetesMethod(store, spec)
