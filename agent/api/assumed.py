"""A caller as somebody describes one, on a host that may not be the one where it will run."""

from __future__ import annotations

import os
import pwd

from msgspec.structs import replace

from agent.api.caller import Caller
from agent.api.conditions import HostIds

FACTS = ("user", "group", "unit", "executable", "sha256", "container", "pod_uid")


class AssumedIds:
    """This host's users and groups; one that it does not have gets a number that is nobody's."""

    def __init__(self) -> None:
        self._host = HostIds()
        self._invented: dict[tuple[str, str], int] = {}

    def user(self, name: str) -> int:
        found = self._host.user(name)
        return self._invent("user", name) if found is None else found

    def group(self, name: str) -> int:
        found = self._host.group(name)
        return self._invent("group", name) if found is None else found

    def _invent(self, kind: str, name: str) -> int:
        return self._invented.setdefault((kind, name), -1 - len(self._invented))


def assumed(who: str, ids: AssumedIds) -> Caller:
    """The caller of `user:app,group:web,unit:app.service`; ValueError says what can't be meant."""
    facts: dict[str, str] = {}
    groups: set[int] = set()
    for part in who.split(","):
        key, colon, value = part.partition(":")
        if key not in FACTS or not colon or not value:
            raise ValueError(f"{part!r} is no FACT:VALUE; permitted: {', '.join(FACTS)}")
        if key == "group":
            groups.add(ids.group(value))
        elif key in facts:
            raise ValueError(f"{key} is there twice")
        else:
            facts[key] = value
    user = facts.pop("user", None)
    uid = None if user is None else ids.user(user)
    return replace(Caller(uid=uid, groups=frozenset(groups | _groups_of(uid))), **facts)


def _groups_of(uid: int | None) -> set[int]:
    """Those that this host gives the user; none if it has no such user."""
    if uid is None or uid < 0:
        return set()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return set()
    return set(os.getgrouplist(entry.pw_name, entry.pw_gid))
