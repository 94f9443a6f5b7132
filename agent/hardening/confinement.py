"""Writes below the configured directories only, where the kernel can hold us to it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from agent.config.model import Configuration
from agent.hardening import landlock, needs
from agent.hardening.protection import Protection

NAME = "writes confined"
ROOT = Path("/")

WHY = {
    errno.ENOSYS: "this kernel has no Landlock (it came with Linux 5.13)",
    errno.EOPNOTSUPP: "Landlock is not enabled (boot with lsm=landlock,… or see lsm= in use)",
    errno.EPERM: "a system call filter forbids Landlock; permit landlock_create_ruleset, "
    "landlock_add_rule and landlock_restrict_self",
    errno.E2BIG: "too many rules",
}
TOO_OLD = "Landlock of this kernel is too old for sockets (needs Linux 5.19)"
NOT_ALONE = "the process has several threads already"
NOT_PERMITTED = "needs hardening.no_new_privileges, or CAP_SYS_ADMIN"


class Confinement:
    """`places`: what may be written to, or None while nothing is confined."""

    def __init__(self) -> None:
        self.places: dict[Path, int] | None = None

    def begin(self, configuration: Configuration, *, is_parent: bool) -> Protection:
        """Confine this thread, and those that it starts, if that is wished and can be had."""
        wish = configuration.hardening.landlock
        if wish == "off":
            return Protection(NAME, False, "off by configuration (hardening.landlock)")
        wanted = _merged(configuration)
        against = hindrance(configuration, is_parent=is_parent) if wish == "auto" else None
        against = against or _unconfinable(configuration, wanted)
        if against is not None:
            return Protection(NAME, False, against)
        failure = _restricted(wanted)
        if failure is not None:
            return Protection(NAME, False, failure)
        self.places = wanted
        return Protection(NAME, True, f"to {told(self.places)}")

    def problems(self, configuration: Configuration, *, is_parent: bool) -> list[str]:
        """What another configuration asks for that this process can't do any more."""
        if self.places is None:
            return []
        allowed = self.places
        found = [
            f"{key}: this run may not write to {place}"
            for key, (place, rights) in needs.places(configuration).items()
            if not _is_within(place, rights, allowed)
        ]
        wish = configuration.hardening.landlock
        against = hindrance(configuration, is_parent=is_parent) if wish == "auto" else None
        against = against or (needs.looks(configuration) and _looking(configuration)) or None
        found += [against] if against is not None else []
        return [f"{each} (Landlock, until its end); start the agent again" for each in found]


def hindrance(configuration: Configuration, *, is_parent: bool) -> str | None:
    """What `auto` would break."""
    if commands := needs.commands(configuration, is_parent=is_parent):
        more = f" and {len(commands) - 1} more" if len(commands) > 1 else ""
        return (
            f"commands would be confined, too: {commands[0]}{more}; if that is fine, name what "
            "they write to in hardening.writable and set hardening.landlock: on"
        )
    if noted := needs.noted_looks(configuration):
        return (
            f"the program of a caller could not be seen, which {noted[0]} records; to do without, "
            "set hardening.landlock: on"
        )
    return None


def told(places: dict[Path, int]) -> str:
    folders = [str(each) for each in places if each != needs.DEV_NULL]
    return ", ".join(sorted(folders)) or "nothing"


def _merged(configuration: Configuration) -> dict[Path, int]:
    merged: dict[Path, int] = {}
    for place, rights in needs.places(configuration).values():
        merged[place] = merged.get(place, 0) | rights
    return merged


def _unconfinable(configuration: Configuration, wanted: dict[Path, int]) -> str | None:
    if needs.looks(configuration):
        return _looking(configuration)
    if ROOT in wanted:
        key = next(key for key, (at, _) in needs.places(configuration).items() if at == ROOT)
        return f"{key} is in /, or nothing of it is there yet; make the directory beforehand"
    return None


def _looking(configuration: Configuration) -> str:
    return f"the agent could not see other processes' programs: {needs.looks(configuration)[0]}"


def _restricted(wanted: dict[Path, int]) -> str | None:
    try:
        if landlock.version() < landlock.OLDEST:
            return TOO_OLD
    except OSError as error:
        return WHY.get(error.errno or 0) or os.strerror(error.errno or 0)
    if not landlock.is_single_threaded():
        return NOT_ALONE
    try:
        landlock.restrict(wanted)
    except PermissionError:
        return NOT_PERMITTED
    except OSError as error:
        return WHY.get(error.errno or 0) or os.strerror(error.errno or 0)
    return None


def _is_within(place: Path, rights: int, allowed: dict[Path, int]) -> bool:
    granted = 0
    for each, given in allowed.items():
        if place.is_relative_to(each):
            granted |= given
    return rights & ~granted == 0
