"""What an answer says beside the value, kept small: a door that speaks Vault's API needs it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import asdict

from agent.stores.vault.replies import Answer

KEPT_BACK = frozenset({"client_token", "accessor"})
"""Of an answer's `auth`: these are the value."""


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """`path` is the API's, without `v1/`; `mount` and `kv_version` are known of KV only.

    `metadata` is that of a version of KV v2. Nothing of the value is in it.
    """

    path: str
    mount: str = ""
    kv_version: int | None = None
    lease_duration: float = 0
    metadata: dict[str, Any] | None = None
    warnings: Any = None
    mount_type: Any = None
    auth: dict[str, Any] | None = None


def sealed(answer: Answer, path: str, *, mount: str = "", kv_version: int | None = None) -> bytes:
    """The envelope of an answer, as a `Reading` keeps it."""
    auth = None if answer.auth is None else asdict(answer.auth)
    metadata = answer.fields.get("metadata") if kv_version == 2 else None
    return msgspec.json.encode(
        Envelope(
            path.strip("/"),
            mount,
            kv_version,
            answer.lease_duration or 0,
            metadata if isinstance(metadata, dict) else None,
            answer.warnings,
            answer.mount_type,
            auth and {key: value for key, value in auth.items() if key not in KEPT_BACK},
        )
    )


def opened(envelope: bytes) -> Envelope | None:
    """None where there is none."""
    return msgspec.json.decode(envelope, type=Envelope) if envelope else None
