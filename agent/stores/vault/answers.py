"""From the server's JSON to a `Reading`: what is the value, its version, its lease, its end.

Where the server gives no version, a digest of the value is one. Versions may be shown, so it is
made with a key: nobody can try guesses against it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec

from agent.core.errors import Invalid, Missing, Outage
from agent.core.lease import Lease, Term
from agent.core.secret import Reading, Secret
from agent.stores.vault.replies import Answer, number

STATIC_ROLE_MARGIN = 1.0
"""Seconds after its announced rotation at which a static role is read again."""

STATIC_ROLE_LATE = 5.0
"""Seconds between readings of a static role whose rotation is overdue."""


def lease_of(answer: Answer, *, asked_at: float, parent: str) -> Lease | None:
    """The lease of an answer, if it has one that ends."""
    lasts = answer.lease_duration or 0.0
    if not answer.lease_id or lasts <= 0:
        return None
    term = Term(asked_at, lasts, bool(answer.renewable), lasts)
    return Lease(answer.lease_id, term, parent)


def kv2_reading(answer: Answer, store: str, path: str) -> Reading:
    """KV version 2: the data lies one level deeper, beside its metadata."""
    if answer.fields.get("data") is None:
        raise Missing("read", store, path, "this version is deleted")
    metadata = _mapping(answer.fields.get("metadata") or {}, store, path)
    custom = _mapping(metadata.get("custom_metadata") or {}, store, path)
    return Reading(
        value=Secret(_mapping(answer.fields["data"], store, path)),
        version=str(metadata.get("version", "")),
        metadata={str(key): str(value) for key, value in custom.items()},
    )


def kv1_reading(answer: Answer, store: str, path: str, key: bytes) -> Reading:
    """KV version 1: fields and nothing else, whatever their names are."""
    fields = _fields(answer, store, path)
    return Reading(Secret(fields), _digest(fields, key))


def reading(
    answer: Answer, store: str, path: str, *, asked_at: float, parent: str, key: bytes
) -> Reading:
    """Any other path: dynamic engines, static roles, certificates, writes."""
    fields = _fields(answer, store, path)
    lease = lease_of(answer, asked_at=asked_at, parent=parent)
    if "serial_number" in fields and "certificate" in fields:
        not_after = number(fields.get("expiration")) or None
        return Reading(Secret(fields), str(fields["serial_number"]), lease, not_after=not_after)
    if lease is not None:
        return Reading(Secret(fields), lease.id, lease)
    if "last_vault_rotation" in fields and "ttl" in fields:
        return _static_role(fields, key)
    return Reading(Secret(fields), _digest(fields, key))


def _static_role(fields: dict[str, Any], key: bytes) -> Reading:
    """A password that the server rotates: it says how long until then.

    The count-down is taken out of the value; with it every reading would be a change.
    """
    left = number(fields.pop("ttl"))
    return Reading(
        Secret(fields),
        version=f"{fields['last_vault_rotation']}/{_digest(fields, key)}",
        read_again_after=left + STATIC_ROLE_MARGIN if left > 0 else STATIC_ROLE_LATE,
    )


def _fields(answer: Answer, store: str, path: str) -> dict[str, Any]:
    if answer.auth is not None:  # a token made for the app
        return {"client_token": answer.auth.client_token, "accessor": answer.auth.accessor}
    if not answer.data:
        raise Invalid("read", store, path, "the path answered without data")
    return dict(answer.data)


def _digest(fields: dict[str, Any], key: bytes) -> str:
    canonical = msgspec.json.encode(fields, order="sorted")
    return hmac.new(key, canonical, hashlib.sha256).hexdigest()[:16]


def _mapping(data: Any, store: str, path: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise Outage("read", store, path, "the answer has no fields", is_store_wide=False)
    return data
