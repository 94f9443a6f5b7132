"""The bytes of a credential."""

from __future__ import annotations

import msgspec

from agent.core.secret import Field, Secret

LIMIT = 1 << 20
"""Bytes that systemd takes of all of a unit's credentials, with their IDs."""


class NoContent(Exception):
    """Nothing that a unit could be given; the text is fit for a log."""


def content(value: Secret, field: str | None, credential: str) -> bytes:
    """Of one field, or of the whole: its only field's, or the JSON of several (bytes in base64).

    `credential` is the ID that it goes by.
    """
    if field is not None:
        if field not in value:
            raise NoContent("the secret has no such field")
        found = _bytes(value[field])
    elif len(value) == 1:
        (only,) = value.values()
        found = _bytes(only)
    else:
        found = msgspec.json.encode(value.reveal()) if value else b""
    if not found:
        raise NoContent("it is empty, and systemd would take that for a credential")
    if len(found) + len(credential) > LIMIT:
        raise NoContent("it has more than 1 MiB, which systemd does not take")
    return found


def _bytes(value: Field) -> bytes:
    """Texts and bytes as they are, nothing for null, all else as JSON."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    return b"" if value is None else msgspec.json.encode(value)
