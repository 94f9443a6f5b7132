"""LDAP: the exchange of `userpass`, checked by the server against a directory."""

from __future__ import annotations

from agent.config.model import Ldap
from agent.stores.vault.auth import AuthMethod
from agent.stores.vault.auth.userpass import PasswordMethod


def method(store: str, spec: Ldap) -> AuthMethod:
    return PasswordMethod("ldap", store, spec)
