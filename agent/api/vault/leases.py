"""Leases that the agent holds: renewed by the agent, looked up here, never revoked from here."""

from __future__ import annotations

from typing import Any

import msgspec

from agent.api.http import Answer
from agent.api.vault.held import HIT, WRITES, Held
from agent.api.vault.words import Refused, response
from agent.core.clock import Clock, rfc3339, wall_at
from agent.core.lease import Lease

PLACES = {
    "sys/leases/renew": "renew",
    "sys/renew": "renew",
    "sys/leases/lookup": "lookup",
    "sys/leases/revoke": "revoke",
    "sys/revoke": "revoke",
}


class Wish(msgspec.Struct, frozen=True):
    """What is wanted of which lease."""

    act: str
    lease_id: str


def wish(method: str, path: str, body: bytes) -> Wish | None:
    """None for what is about no single lease. The id stands in the body, or ends the path."""
    if method not in WRITES:
        return None
    for place, act in PLACES.items():
        if path == place:
            lease_id = _named(body)
            return Wish(act, lease_id) if lease_id else None
        if act != "lookup" and path.startswith(place + "/"):
            return Wish(act, path.removeprefix(place + "/"))
    return None


def fulfilled(wanted: Wish, held: Held, name: str, clock: Clock) -> Answer:
    """The answer of a server, as of now, to one who may read the secret; `Refused` for revoke."""
    entry = held.entry(name)
    if wanted.act == "revoke":
        raise Refused(403, "the agent holds this lease for others, too: it is not revoked here")
    if entry.reading is None or entry.reading.lease is None:
        raise Refused(400, "lease not found")
    left = held.seconds_left(entry)
    if wanted.act == "lookup":
        envelope = held.envelope(name)
        data = _looked_up(entry.reading.lease, entry.read_at, left, clock)
        data |= {} if envelope is None else {"path": envelope.path}
        return Answer(200, response(data=data), headers=HIT)
    body = response(
        lease_id=wanted.lease_id,
        renewable=entry.reading.lease.term.is_renewable,
        lease_duration=left,
    )
    return Answer(200, body, headers=HIT)


def _looked_up(lease: Lease, read_at: float | None, left: int, clock: Clock) -> dict[str, Any]:
    """`read_at` is when the value was had; a term that began later is that of a renewal."""
    began_at = lease.term.began_at
    is_renewed = read_at is not None and began_at > read_at
    issued_at = read_at if is_renewed and read_at is not None else began_at
    return {
        "id": lease.id,
        "issue_time": rfc3339(wall_at(clock, issued_at)),
        "last_renewal": rfc3339(wall_at(clock, began_at)) if is_renewed else None,
        "expire_time": rfc3339(wall_at(clock, clock.now() + left)),
        "renewable": lease.term.is_renewable,
        "ttl": left,
    }


def _named(body: bytes) -> str:
    try:
        content = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    lease_id = content.get("lease_id") if isinstance(content, dict) else None
    return lease_id if isinstance(lease_id, str) else ""
