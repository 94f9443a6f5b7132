"""The user that a child runs as: numbers, supplementary groups, and what its environment says."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

import msgspec

from agent.delivery.generations.ownership import gid_of, uid_of


class Account(msgspec.Struct, frozen=True):
    """What `spawn` is told; None leaves a thing as the agent has it."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)


def account_of(user: str | None, group: str | None) -> Account:
    """Look a user and a group up, as names or numbers; reads the user database, so it may block.

    A user brings its groups, HOME, USER and LOGNAME. DeliveryError if there is no such name.
    """
    uid, gid = uid_of(user), gid_of(group)
    if uid is None:
        return Account(gid=gid)
    entry = _entry_of(uid)
    gid = gid if gid is not None else entry.pw_gid if entry else uid
    environment = _environment_of(entry)
    if uid and (uid, gid) == (os.geteuid(), os.getegid()):
        return Account(environment=environment)  # nothing to change, and no right to
    groups = os.getgrouplist(entry.pw_name, gid) if entry else [gid]
    return Account(uid, gid, tuple(groups), environment)


def _entry_of(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _environment_of(entry: pwd.struct_passwd | None) -> dict[str, str]:
    if entry is None:
        return {"HOME": "/"}
    return {"HOME": entry.pw_dir or "/", "USER": entry.pw_name, "LOGNAME": entry.pw_name}
