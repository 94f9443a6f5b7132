"""The agent's token, asked about by one who has none: as the vault's own proxy answers.

Nobody gets the token, its accessor, or anything to use them by: not plain, not wrapped.
"""

from __future__ import annotations

from agent.api.http import Answer
from agent.api.vault.asking import Asked
from agent.api.vault.held import WRITES
from agent.api.vault.relay import Upstream
from agent.api.vault.words import Refused, denied, failed, response
from agent.core.errors import StoreError

PLACE = "auth/token/"
ABOUT_SELF = ("lookup-self", "renew-self", "revoke-self")


def is_about_self(path: str) -> bool:
    """In whatever namespace."""
    place, _, what = path.rpartition("/")
    return what in ABOUT_SELF and f"/{place}/".endswith(f"/{PLACE}")


async def answer(upstream: Upstream, asked: Asked, path: str | None) -> Answer:
    """`path` is seen from the agent's namespace: elsewhere it has no token."""
    if path == PLACE + "revoke-self":
        raise Refused(403, "this is the agent's token: it is not revoked here")
    if asked.wraps or path not in (PLACE + "lookup-self", PLACE + "renew-self"):
        raise denied()
    is_lookup = path.endswith("lookup-self")
    if asked.method not in (("GET",) if is_lookup else WRITES):
        raise Refused(405, "unsupported operation")
    try:
        known = await upstream.own_token()
    except StoreError as error:
        raise failed(error) from None
    return Answer(200, response(data=known) if is_lookup else response(auth=_as_auth(known)))


def _as_auth(known: dict[str, object]) -> dict[str, object]:
    """The agent renews its token itself; told is what is left."""
    return {
        "client_token": "",
        "accessor": "",
        "policies": known.get("policies"),
        "token_policies": known.get("policies"),
        "metadata": known.get("meta"),
        "entity_id": known.get("entity_id", ""),
        "token_type": known.get("type"),
        "orphan": known.get("orphan"),
        "lease_duration": known.get("ttl"),
        "renewable": known.get("renewable"),
        "mfa_requirement": None,
        "num_uses": 0,
    }
