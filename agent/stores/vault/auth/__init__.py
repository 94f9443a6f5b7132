"""Auth methods, one file each, behind one small protocol. Only the one configured is imported."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from agent.config.model import Auth, Cert, VaultStore
from agent.core.book import fingerprint
from agent.core.errors import NotLoggedIn
from agent.stores.vault.client import VaultClient
from agent.stores.vault.replies import Granted

WHO = ("mount", "role", "role_id", "role_id_file", "username")
"""The keys of `auth` that say who logs in; the others say with what."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a login gave. `ttl` in seconds, None for a token that never ends.

    `increment` is what to ask for at each renewal; the ttl where it is None.
    `is_ours`: the token was made for this agent, which gives it back at the end; a token that
    somebody else put into a file is theirs.
    """

    token: str = field(repr=False)
    id: str
    ttl: float | None
    is_renewable: bool
    is_ours: bool = True
    increment: float | None = None
    uses: int = 0


class AuthMethod(Protocol):
    """One way of logging in."""

    name: str
    watched: tuple[Path, ...]
    """Files whose change may mean a new credential, which is used at once."""

    async def has_new_credential(self) -> bool:
        """There is another credential than the last login was tried with."""

    async def login(self, client: VaultClient) -> Grant:
        """Log in with the credential as it is now; a StoreError if that fails."""

    async def logged_in(self) -> None:
        """The grant is in use: what may be thrown away now, is."""


def auth_method(store: str, spec: Auth) -> AuthMethod:
    """The method that a configuration asks for."""
    name = str(type(spec).__struct_config__.tag)
    module = import_module(f"agent.stores.vault.auth.{name}")
    return cast(AuthMethod, module.method(store, spec))


def granted(auth: Granted, store: str, method: str) -> Grant:
    """A Grant from the `auth` part of a login's answer; NotLoggedIn if there is no token in it."""
    if not auth.client_token:
        raise NotLoggedIn("log in", store, method, "the server answered without a token")
    return Grant(
        token=auth.client_token,
        id=auth.accessor or unnamed(auth.client_token),
        ttl=auth.lease_duration or None,
        is_renewable=bool(auth.renewable),
        uses=auth.num_uses or 0,
    )


def unnamed(token: str) -> str:
    """The id of a token without an accessor; tokens are too long to be guessed from it."""
    return f"unnamed-{hashlib.sha256(token.encode()).hexdigest()[:16]}"


def place_of(spec: VaultStore) -> str:
    """What decides whose tokens these are, and whose values; no credential is in it."""
    auth = {name: str(getattr(spec.auth, name, None)) for name in WHO}
    auth["method"] = str(type(spec.auth).__struct_config__.tag)
    certificate = spec.tls.cert_file if isinstance(spec.auth, Cert) else None
    return fingerprint("vault", spec.address, spec.namespace, auth, str(certificate))
