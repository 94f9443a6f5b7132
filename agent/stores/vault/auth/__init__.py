"""Auth methods, one file each, behind one small protocol. Only the one configured is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from agent.config.model import Auth
from agent.stores.vault.client import VaultClient


@dataclass(frozen=True, slots=True)
class Grant:
    """What a login gave. `ttl` in seconds, None for a token that never ends.

    `is_ours`: the token was made for this agent, which gives it back at the end; a token that
    somebody else put into a file is theirs.
    """

    token: str = field(repr=False)
    id: str
    ttl: float | None
    is_renewable: bool
    is_ours: bool = True


class AuthMethod(Protocol):
    """One way of logging in."""

    name: str
    watched: tuple[Path, ...]
    """Files whose change means a new credential, which is used at once."""

    async def login(self, client: VaultClient) -> Grant:
        """Log in with the credential as it is now; a StoreError if that fails."""

    async def logged_in(self) -> None:
        """The grant is in use: what may be thrown away now, is."""


def auth_method(store: str, spec: Auth) -> AuthMethod:
    """The method that a configuration asks for."""
    name = str(type(spec).__struct_config__.tag)
    module = import_module(f"agent.stores.vault.auth.{name}")
    return cast(AuthMethod, module.method(store, spec))


def granted(auth: dict[str, Any], *, is_ours: bool = True) -> Grant:
    """A Grant from the `auth` part of a login's answer."""
    ttl = float(auth.get("lease_duration") or 0)
    token = str(auth["client_token"])
    return Grant(
        token=token,
        id=str(auth.get("accessor") or f"unnamed-{id(auth):x}"),
        ttl=ttl or None,
        is_renewable=bool(auth.get("renewable")),
        is_ours=is_ours,
    )
