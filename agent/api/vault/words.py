"""Answers in the words of a Vault server."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec

from agent.api.http import Answer
from agent.api.http.message import Headers
from agent.core.errors import Denied, Missing, NotLoggedIn, RateLimited, Sealed, StoreError

SOON = ("Retry-After", "1")


class Refused(Exception):
    """A request that gets an error. `detail` is shown to the caller; nothing else is."""

    def __init__(self, status: int, *details: str, headers: Headers = ()) -> None:
        super().__init__(*details)
        self.status, self.details, self.headers = status, details, headers

    def answer(self) -> Answer:
        body = msgspec.json.encode({"errors": self.details}) + b"\n"
        return Answer(self.status, body, headers=self.headers)


def denied() -> Refused:
    """The same for all that a caller may not have, be it there or not."""
    return Refused(403, "permission denied")


def response(**content: Any) -> bytes:
    """A whole answer; what is not told is empty, as the server has it."""
    empty = {
        "request_id": str(uuid4()),
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": None,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }
    return msgspec.json.encode(empty | content) + b"\n"


def failed(error: StoreError) -> Refused:
    """What a request that could not be passed on is answered."""
    if isinstance(error, RateLimited):
        wait = ("Retry-After", str(max(1, round(error.retry_after))))
        return Refused(429, "the vault asks for quiet", headers=(wait,))
    if isinstance(error, Denied):
        return denied()
    if isinstance(error, Missing):
        return Refused(404)
    if isinstance(error, Sealed):
        return Refused(503, "Vault is sealed, or has no leader", headers=(SOON,))
    if isinstance(error, NotLoggedIn):
        return Refused(503, "the agent is not logged in to the vault", headers=(SOON,))
    return Refused(502, "the vault can't be had")
