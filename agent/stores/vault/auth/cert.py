"""TLS client certificate: the connection itself is the proof."""

from __future__ import annotations

from pathlib import Path

from agent.config.model import Cert
from agent.stores.vault.auth import AuthMethod, Grant, granted
from agent.stores.vault.client import VaultClient


class CertMethod:
    """Logs in with the certificate of the store's `tls` section.

    A renewed certificate on disk is noticed by the store, which opens new connections with it.
    hvac's own `cert.login` handles certificates itself; here they are the connection's.
    """

    name = "cert"

    def __init__(self, store: str, spec: Cert) -> None:
        self._store, self._spec = store, spec
        self.watched: tuple[Path, ...] = ()

    async def login(self, client: VaultClient) -> Grant:
        name = {"name": self._spec.role} if self._spec.role else {}
        auth = await client.login(client.write(f"auth/{self._spec.mount}/login", name))
        return granted(auth, self._store, self.name)

    async def has_new_credential(self) -> bool:
        return False

    async def logged_in(self) -> None:
        return


def method(store: str, spec: Cert) -> AuthMethod:
    return CertMethod(store, spec)
