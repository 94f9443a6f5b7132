"""Which unit wants which credential: systemd says so in the name that it binds.

Any process may bind such a name, and connect if it may open the socket: whoever believes it has
looked at the kernel's word for the user first.
"""

from __future__ import annotations

import re

import msgspec

LONGEST_NAME = 108
"""Bytes: all of sun_path."""

_NAME = re.compile(
    rb"\0[0-9a-f]{1,16}/unit/"
    rb"(?P<unit>[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\@-]*\.(?:service|socket|mount|swap))/"
    rb"(?P<credential>[!-.0-9;-~]+)"
)
_CREDENTIAL = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_-]*)(?:\.(?P<field>.+))?")


class Peer(msgspec.Struct, frozen=True):
    """What systemd wants: `credential` as it stands, which is `secret` or `secret.field`."""

    unit: str
    credential: str
    secret: str
    field: str | None = None


def peer_of(name: object) -> Peer | None:
    """Of an abstract address, as getpeername gives it; None: systemd would not have made it."""
    if not isinstance(name, bytes) or len(name) > LONGEST_NAME:
        return None
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    credential = found["credential"].decode("ascii")
    parts = _CREDENTIAL.fullmatch(credential)
    if parts is None:
        return None
    return Peer(found["unit"].decode("ascii"), credential, parts["name"], parts["field"])
