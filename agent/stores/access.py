"""Whom an access control list lets in: systemd gives a credential to its unit's user by one.

Such a file is root's, and its mode reads 0440: with a list, the group's bits of the mode are the
most that any entry of the list can give, and the group's own are in the list.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

LIST = "system.posix_acl_access"

_VERSION = 2
_USER, _GROUP_OF_FILE, _GROUP, _OTHERS = 0x02, 0x04, 0x08, 0x20


def lets_in_only(descriptor: int, mode: int, user: int) -> bool:
    """True if there is a list, and it lets in the owner and `user`, and nobody else."""
    try:
        raw = os.getxattr(descriptor, LIST)
    except OSError:  # no list, or a filesystem without them
        return False
    if mode & 0o007 or len(raw) % 8 != 4 or raw[:4] != struct.pack("<I", _VERSION):
        return False
    return all(
        not permissions or (tag == _USER and whom == user)
        for tag, permissions, whom in _entries(raw)
        if tag in (_USER, _GROUP_OF_FILE, _GROUP, _OTHERS)
    )


def _entries(raw: bytes) -> Iterator[tuple[int, int, int]]:
    """(tag, permissions, user or group)"""
    return struct.iter_unpack("<HHI", raw[4:])
