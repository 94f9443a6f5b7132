"""Names of users and groups to the numbers that files have."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable
from functools import cache

from agent.core.errors import DeliveryError

LARGEST_ID = 2**32 - 2
"""The largest number means "leave as it is" to the kernel, and is nobody's."""


@cache
def uid_of(owner: str | None) -> int | None:
    """The number of a user: a name, or a number as text. DeliveryError if there is none."""
    return _id_of("user", owner, lambda name: pwd.getpwnam(name).pw_uid)


@cache
def gid_of(group: str | None) -> int | None:
    """The number of a group: a name, or a number as text. DeliveryError if there is none."""
    return _id_of("group", group, lambda name: grp.getgrnam(name).gr_gid)


def _id_of(kind: str, name: str | None, look_up: Callable[[str], int]) -> int | None:
    if name is None:
        return None
    if name.isascii() and name.isdecimal():
        return _in_range(kind, name)
    try:
        return look_up(name)
    except (KeyError, ValueError):
        reason = "does not exist on this host; create it, or give its number"
        raise DeliveryError(f"{kind} {name!r}", reason) from None


def _in_range(kind: str, number: str) -> int:
    if len(number) > 10 or int(number) > LARGEST_ID:
        raise DeliveryError(f"{kind} {number}", f"must be 0 to {LARGEST_ID}")
    return int(number)
