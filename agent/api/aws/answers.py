"""A secret as the original gives it, and its errors."""

from __future__ import annotations

from base64 import b64encode

import msgspec

from agent.api.http import Answer
from agent.core.secret import Secret
from agent.ledger import Entry

TEXT = "text/plain; charset=utf-8"
CURRENT = "AWSCURRENT"
ARN_PREFIX = "arn:aws:secretsmanager:local:000000000000:secret:"
"""Of no account and no region: programs want to see one."""


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an answer; `CreatedDate` is seconds since the epoch, as a text."""

    ARN: str
    Name: str
    VersionId: str
    SecretString: str | None = None
    SecretBinary: str | None = None
    VersionStages: tuple[str, ...] | None = None
    CreatedDate: str | None = None

    def __repr__(self) -> str:
        return f"<Value of {self.Name}>"


def value(entry: Entry, created: float) -> Answer:
    """The secret that is held; `created` is wall time."""
    assert entry.reading is not None  # noqa: S101  # whoever calls has looked
    string, binary = _content(entry.reading.value)
    body = Value(
        ARN=ARN_PREFIX + entry.name,
        Name=entry.name,
        VersionId=entry.reading.version,
        SecretString=string,
        SecretBinary=binary,
        VersionStages=(CURRENT,),
        CreatedDate=f"{created:.3f}".rstrip("0").rstrip("."),
    )
    return Answer(200, msgspec.json.encode(body))


def _content(secret: Secret) -> tuple[str | None, str | None]:
    """(SecretString, SecretBinary): the latter for a single field of bytes."""
    fields = secret.reveal()
    if len(fields) == 1:
        (only,) = fields.values()
        if isinstance(only, bytes):
            return None, b64encode(only).decode()
    return msgspec.json.encode(fields).decode(), None


def plain(status: int, text: str) -> Answer:
    """One of the agent's own words."""
    return Answer(status, text.encode(), TEXT)


def refusal(status: int, kind: str, message: str) -> Answer:
    """What the service itself would say."""
    return Answer(status, msgspec.json.encode({"__type": kind, "message": message}))


HEALTHY = plain(200, "healthy")
TOO_MANY = plain(429, "Connection limit exceeded")
FORWARDED = plain(400, "Forwarded")
BAD_TOKEN = plain(403, "Bad Token")
NOT_ALLOWED = plain(405, "Not allowed")

DENIED = refusal(400, "AccessDeniedException", "No rule lets this caller read this secret")
NO_ROLE = refusal(400, "AccessDeniedException", "roleArn: no role is assumed here")
NO_SECRET = refusal(
    400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret."
)
STORE_DENIED = refusal(400, "AccessDeniedException", "The store does not let the agent read it")
TIMEOUT = refusal(504, "TimeoutError", "Timeout")
UNREACHABLE = refusal(502, "ConnectionError", "Read Error")


def no_version(what: str, asked: str) -> Answer:
    """`what` is VersionId, or staging label."""
    message = f"Secrets Manager can't find the specified secret value for {what}: {asked}"
    return refusal(400, "ResourceNotFoundException", message)


def not_held(entry: Entry) -> Answer:
    """Why there is no value, or why no fresh one could be had."""
    by_kind = {
        "denied": STORE_DENIED,
        "missing": NO_SECRET,
        "outage": UNREACHABLE,
        "sealed": UNREACHABLE,
        "rate_limited": UNREACHABLE,
        "not_logged_in": UNREACHABLE,
    }
    return by_kind.get(entry.kind or "", TIMEOUT)
