"""What can go wrong between an agent and a server; `Proxy.fault` puts it there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """The server is not asked; this is the answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """The server is not asked, and no answer comes until the fault is lifted or the proxy ends."""


@dataclass(frozen=True)
class Withhold:
    """The server is asked, and its answer comes when the fault is lifted, if ever."""


@dataclass(frozen=True)
class Delay:
    """The server is asked after `seconds`."""

    seconds: float


@dataclass(frozen=True)
class Reset:
    """The connection is reset: before any answer, or after `body_bytes` of the real answer's body.

    With `is_asked` the server got the request all the same.
    """

    body_bytes: int | None = None
    is_asked: bool = True


@dataclass(frozen=True)
class Cut:
    """The connection is closed after `body_bytes` of the real answer's body."""

    body_bytes: int = 5


Fault = Answer | Hang | Withhold | Delay | Reset | Cut


def errors(status: int, *texts: str, **headers: str) -> Answer:
    """An error in the shape of Vault's API."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"errors": list(texts)}).encode()
    return Answer(status, body, {"Content-Type": "application/json", **named})


def rate_limited(retry_after: float) -> Answer:
    """429 with Retry-After (whole seconds in HTTP)."""
    return errors(429, "request path: rate limit quota exceeded", Retry_After=f"{retry_after:g}")


SEALED = errors(503, "Vault is sealed")
DENIED = errors(403, "1 error occurred:\n\t* permission denied\n\n")
BROKEN = errors(500, "internal error")
WRONG_JSON = Answer(200, b'{"data": {"password": ', {"Content-Type": "application/json"})
NOT_JSON = Answer(200, b"<html>welcome to the captive portal</html>", {"Content-Type": "text/html"})
HUGE = Answer(200, b'{"data": {"a": "' + b"x" * (64 << 20) + b'"}}')
