"""The conditions of a rule: what a caller must be, and why one is not."""

from __future__ import annotations

import grp
import pwd
import re
from collections.abc import Callable, Iterable
from fnmatch import translate
from typing import Protocol

import msgspec

from agent.api.caller import Caller
from agent.config.listener_model import AnyRule, CallerRule

LONGEST_ID = 10
"""Digits."""


class Condition(msgspec.Struct, frozen=True):
    """One that a rule names: `meets` says None where it can't be known."""

    key: str
    wanted: str
    meets: Callable[[Caller], bool | None]

    def failure(self, caller: Caller) -> str | None:
        """Why the caller does not meet it, for people; None if it does."""
        met = self.meets(caller)
        if met:
            return None
        is_known = met is not None
        return f"{self.key} is not {self.wanted}" if is_known else f"{self.key} is unknown"


class Ids(Protocol):
    """Names of users and groups to numbers; None for one that this host does not have."""

    def user(self, name: str) -> int | None: ...
    def group(self, name: str) -> int | None: ...


class HostIds:
    """This host's own. Blocks."""

    def user(self, name: str) -> int | None:
        return _id_of(name, lambda: pwd.getpwnam(name).pw_uid)

    def group(self, name: str) -> int | None:
        return _id_of(name, lambda: grp.getgrnam(name).gr_gid)


def any_of(globs: Iterable[str]) -> re.Pattern[str]:
    """Of no globs, a pattern that matches nothing."""
    return re.compile("|".join(translate(each) for each in globs) or r"(?!)")


def conditions_of(rule: AnyRule, ids: Ids) -> tuple[Condition, ...]:
    """In the order of the model."""
    return tuple(_named(rule, ids))


def _named(rule: AnyRule, ids: Ids) -> Iterable[Condition]:
    if isinstance(rule, CallerRule):
        if rule.user is not None:
            yield _user(rule.user, ids)
        if rule.group is not None:
            yield _group(rule.group, ids)
    if rule.unit is not None:
        yield _unit(rule.unit)
    if isinstance(rule, CallerRule):
        if rule.executable is not None:
            yield _equal("executable", str(rule.executable))
        if rule.sha256 is not None:
            yield _equal("sha256", rule.sha256)
        if rule.container is not None:
            yield _container(rule.container)
        if rule.pod_uid is not None:
            yield _equal("pod_uid", rule.pod_uid)


def _user(name: str, ids: Ids) -> Condition:
    uid = ids.user(name)

    def meets(caller: Caller) -> bool | None:
        return None if caller.uid is None else uid is not None and caller.uid == uid

    return Condition("user", name, meets)


def _group(name: str, ids: Ids) -> Condition:
    gid = ids.group(name)

    def meets(caller: Caller) -> bool | None:
        if caller.gid is None and not caller.groups:
            return None
        return gid is not None and (caller.gid == gid or gid in caller.groups)

    return Condition("group", name, meets)


def _unit(glob: str) -> Condition:
    pattern = any_of([glob])

    def meets(caller: Caller) -> bool | None:
        return None if caller.unit is None else pattern.fullmatch(caller.unit) is not None

    return Condition("unit", glob, meets)


def _container(beginning: str) -> Condition:
    def meets(caller: Caller) -> bool | None:
        return None if caller.container is None else caller.container.startswith(beginning)

    return Condition("container", beginning, meets)


def _equal(key: str, wanted: str) -> Condition:
    def meets(caller: Caller) -> bool | None:
        found = getattr(caller, key)
        return None if found is None else found == wanted

    return Condition(key, wanted, meets)


def lacking(rule: AnyRule, ids: Ids) -> Iterable[str]:
    """Users and groups of the rule that there are not."""
    if isinstance(rule, CallerRule):
        if rule.user is not None and ids.user(rule.user) is None:
            yield f"user {rule.user}"
        if rule.group is not None and ids.group(rule.group) is None:
            yield f"group {rule.group}"


def _id_of(name: str, look_up: Callable[[], int]) -> int | None:
    if name.isascii() and name.isdecimal():
        return int(name) if len(name) <= LONGEST_ID else None
    try:
        return look_up()
    except (KeyError, ValueError):
        return None
