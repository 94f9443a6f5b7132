"""From the server's JSON to a `Reading`: what is the value, its version, its lease, its end."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

import msgspec

from agent.core.errors import Invalid, Missing, Outage
from agent.core.lease import Lease, Term
from agent.core.secret import Reading, Secret
from agent.stores.vault.transport import Answer

_DIGEST_KEY = secrets.token_bytes(32)
"""Versions may be shown, so the digest of a value is keyed: nobody can try guesses against it."""

STATIC_ROLE_MARGIN = 1.0
"""Seconds after its announced rotation at which a static role is read again."""


def lease_of(answer: Answer, *, asked_at: float, parent: str) -> Lease | None:
    """The lease of an answer, if it has one that ends."""
    lease_id, lasts = answer.get("lease_id"), float(answer.get("lease_duration") or 0)
    if not lease_id or lasts <= 0:
        return None
    term = Term(asked_at, lasts, bool(answer.get("renewable")), lasts)
    return Lease(str(lease_id), term, parent)


def kv2_reading(answer: Answer, store: str, path: str) -> Reading:
    """KV version 2: the data lies one level deeper, beside its metadata."""
    outer = _mapping(answer.get("data"), store, path)
    if outer.get("data") is None:
        raise Missing("read", store, path, "this version is deleted")
    metadata = outer.get("metadata") or {}
    custom = metadata.get("custom_metadata") or {}
    return Reading(
        value=Secret(_mapping(outer["data"], store, path)),
        version=str(metadata.get("version", "")),
        metadata={str(key): str(value) for key, value in custom.items()},
    )


def reading(answer: Answer, store: str, path: str, *, asked_at: float, parent: str) -> Reading:
    """Any other path: KV version 1, dynamic engines, static roles, certificates, writes."""
    data = answer.get("data") or answer.get("auth")
    if not data:
        raise Invalid("read", store, path, "the path answered without data")
    fields = _mapping(data, store, path)
    lease = lease_of(answer, asked_at=asked_at, parent=parent)
    if lease is not None:
        return Reading(Secret(fields), lease.id, lease, not_after=_not_after(fields))
    if "last_vault_rotation" in fields and "ttl" in fields:
        return _static_role(fields)
    if "serial_number" in fields and "certificate" in fields:
        serial = str(fields["serial_number"])
        return Reading(Secret(fields), serial, not_after=_not_after(fields))
    return Reading(Secret(fields), _digest(fields))


def _static_role(fields: dict[str, Any]) -> Reading:
    """A password that the server rotates: it says how long until then.

    The count-down is taken out of the value; with it every reading would be a change.
    """
    ttl = float(fields.pop("ttl") or 0)
    return Reading(
        Secret(fields),
        version=f"{fields['last_vault_rotation']}/{_digest(fields)}",
        read_again_after=ttl + STATIC_ROLE_MARGIN,
    )


def _not_after(fields: dict[str, Any]) -> float | None:
    expiration = fields.get("expiration")
    is_certificate = "certificate" in fields and isinstance(expiration, int | float)
    return float(expiration) if is_certificate and expiration else None


def _digest(fields: dict[str, Any]) -> str:
    canonical = msgspec.json.encode(fields, order="sorted")
    return hmac.new(_DIGEST_KEY, canonical, hashlib.sha256).hexdigest()[:16]


def _mapping(data: Any, store: str, path: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Outage("read", store, path, "the answer has no fields", is_store_wide=False)
    return {str(key): value for key, value in data.items()}
