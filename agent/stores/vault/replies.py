"""What a server's answer says: the JSON it has, or the error that it means.

Error policy, once for all requests: no answer, a broken one, 412, 5xx and 429 are an `Outage`
(store-wide but for a 500, which is about the path); 403 is `Denied`, 404 `Missing`, 400 and 405
`Invalid`. No body of an answer goes into an error: a plugin may have put a password there.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agent.core.errors import (
    Denied,
    Invalid,
    Missing,
    Outage,
    RateLimited,
    Sealed,
    StoreError,
)
from agent.core.lean_aiohttp import aiohttp

MAX_BODY = 32 * 1024 * 1024

BY_POLICY = b"1 error occurred:"
"""How a 403 begins that is a policy's; that of a dead token names no error, or several."""

KINDS: dict[int, tuple[type[StoreError], str]] = {
    400: (Invalid, "the request was refused as invalid (400)"),
    404: (Missing, "nothing there (404)"),
    405: (Invalid, "not supported at this path (405)"),
}

Where = tuple[str, str, str]
"""Operation, store and path."""


class Granted(msgspec.Struct, frozen=True):
    """The `auth` part of an answer."""

    client_token: str = ""
    accessor: str | None = None
    lease_duration: float | None = None
    renewable: bool | None = None
    num_uses: int | None = None
    policies: Any = None
    token_policies: Any = None
    identity_policies: Any = None
    metadata: Any = None
    entity_id: Any = None
    token_type: Any = None
    orphan: Any = None
    mfa_requirement: Any = None

    def __repr__(self) -> str:
        return "<Granted>"


class Answer(msgspec.Struct, frozen=True):
    """A server's answer, as far as it is looked at; strangers' shapes are refused by type."""

    data: dict[str, Any] | None = None
    auth: Granted | None = None
    lease_id: str | None = None
    lease_duration: float | None = None
    renewable: bool | None = None
    warnings: Any = None
    mount_type: Any = None

    def __repr__(self) -> str:
        return "<Answer>"

    @property
    def fields(self) -> dict[str, Any]:
        return self.data or {}


def raise_for_status(where: Where, response: aiohttp.ClientResponse, content: bytes | None) -> None:
    """The StoreError that the answer means, if any; `content` None: too large to be read."""
    status = response.status
    if status < 300 and content is None:
        reason = f"the answer is larger than {MAX_BODY // 1024 // 1024} MiB"
        raise Outage(*where, reason, is_store_wide=False)
    if status < 300:
        return
    retry_after = _retry_after(response.headers.get("Retry-After"))
    if status == 429 or (status == 503 and retry_after is not None):
        asked = 1.0 if retry_after is None else retry_after
        raise RateLimited(*where, f"asked for quiet ({status})", retry_after=asked)
    if status in (501, 503):
        raise Sealed(*where, f"sealed, not initialised or without a leader ({status})")
    if status in (401, 403):
        is_by_policy = BY_POLICY in (content or b"")
        raise Denied(*where, f"permission denied ({status})", is_by_policy=is_by_policy)
    if status in KINDS:
        kind, reason = KINDS[status]
        raise kind(*where, reason)
    raise Outage(*where, f"status {status}", is_store_wide=status != 500)


def parsed(where: Where, content: bytes | None) -> Answer:
    """The server's JSON object; an empty one for an empty body."""
    if not content:
        return Answer()
    try:
        return msgspec.json.decode(content, type=Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        reason = "the answer is not the JSON of a Vault server"
        raise Outage(*where, reason) from None


async def whole(response: aiohttp.ClientResponse) -> bytes | None:
    """The body; None when it is larger than anything a vault has to say."""
    if (response.content_length or 0) > MAX_BODY:
        response.close()
        return None
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MAX_BODY:
            response.close()
            return None
        parts.append(part)
    return b"".join(parts)


def number(value: object) -> float:
    """A number from an answer's data; 0 for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else 0.0  # type: ignore[arg-type]


def _retry_after(value: str | None) -> float | None:
    """Seconds; the date form is not sent by vaults, and is not worth a wall clock."""
    try:
        return None if value is None else min(max(float(value), 0.0), 3600.0)
    except ValueError:
        return None
