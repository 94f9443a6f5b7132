"""auto_auth's method as the store's `auth`. No credential that stands in a file is taken over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.migrating.draft import STORE, Draft
from agent.migrating.section import Section
from agent.migrating.table import Row

Keys = Mapping[str, str]

_TEXTS: Mapping[str, Keys] = {
    "approle": {"role_id_file_path": "role_id_file", "secret_id_file_path": "secret_id_file"},
    "kubernetes": {"role": "role", "token_path": "jwt_file"},
    "jwt": {"path": "jwt_file", "role": "role"},
    "cert": {"name": "role"},
    "token_file": {"token_file_path": "token_file"},
    "ldap": {"username": "username", "password_file_path": "password_file"},
}
_NEEDED: Mapping[str, Keys] = {
    "approle": {
        "role_id_file": "/etc/leasehold/role-id",
        "secret_id_file": "/etc/leasehold/secret-id",
    },
    "kubernetes": {"role": "app"},
    "jwt": {"jwt_file": "/etc/leasehold/jwt"},
    "token_file": {"token_file": "/etc/leasehold/token"},
    "ldap": {"username": "app", "password_file": "/etc/leasehold/password"},
}
"""What must be there with us, and what stands there where it can't be known."""

_TLS: Keys = {"client_cert": "cert_file", "client_key": "key_file", "ca_cert": "ca_file"}
PATH = ("stores", STORE, "auth")
PLACEHOLDER = "token_file"


def put_method(
    draft: Draft, method: Section, label: str, table: Mapping[str, Row], subject: str
) -> None:
    """The method's block, whose type is its label or its key `type`."""
    kind = (method.text("type") or label).lower()
    mount = (method.text("mount_path") or "").strip("/").removeprefix("auth/")
    if kind not in _TEXTS:
        _put_unknown(draft, method, kind, table, subject)
        return
    draft.put((*PATH, "method"), kind, draft.origin(method.line))
    draft.put((*PATH, "mount"), mount if mount and mount != kind else None)
    config = method.section("config")
    if config is not None:
        config.name = f"{subject}({kind})"
        _put_config(draft, config, kind)
        config.rest()
    _put_needed(draft, method, kind, subject)


def _put_config(draft: Draft, config: Section, kind: str) -> None:
    for theirs, ours in _TEXTS[kind].items():
        draft.put((*PATH, ours), config.text(theirs))
    if kind == "approle":
        keeps = config.flag("remove_secret_id_file_after_reading") is False
        draft.put((*PATH, "remove_secret_id_file"), False if keeps else None)
        wrapping = config.text("secret_id_response_wrapping_path")
        draft.put((*PATH, "secret_id_wrapped"), True if wrapping else None)
        draft.put((*PATH, "wrapped_path"), wrapping or None)
    if kind == "cert":
        for theirs, ours in _TLS.items():
            draft.put(("stores", STORE, "tls", ours), config.text(theirs))
    for key in ("remove_jwt_after_reading", "remove_password_after_reading"):
        if config.has(key) and config.flag(key) is False:
            config.take(key)


def _put_needed(draft: Draft, method: Section, kind: str, subject: str) -> None:
    auth = draft.tree["stores"][STORE]["auth"]
    for key, value in _NEEDED.get(kind, {}).items():
        if not auth.get(key):
            auth[key] = value
            why = f"{key} is not given; {value} stands there now: put in what is right"
            draft.findings.by_hand(method.line, f"{subject}({kind})", why)
    tls = draft.tree["stores"][STORE].get("tls", {})
    if kind == "cert" and not tls.get("cert_file"):
        why = "no client certificate is given; tls.cert_file is needed: put in what is right"
        draft.put(("stores", STORE, "tls", "cert_file"), "/etc/leasehold/client.pem")
        draft.findings.by_hand(method.line, f"{subject}(cert)", why)


def _put_unknown(
    draft: Draft, method: Section, kind: str, table: Mapping[str, Row], subject: str
) -> None:
    method.take("config", "mount_path", "type")
    name = f"{subject}({kind})"
    row = table.get(name)
    why = row.text if row else "this is no auth method that is known here"
    draft.findings.by_hand(method.line, name, f"{why}; a token file stands there now")
    put_token_file(draft)


def put_token_file(draft: Draft, value: Any = "/etc/leasehold/token") -> None:
    """Something that loads, where the way to log in is left to be done."""
    draft.put(PATH, {"method": PLACEHOLDER, "token_file": value}, "to be replaced")
