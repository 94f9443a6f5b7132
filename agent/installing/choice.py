"""What somebody wants installed."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path

import msgspec

from agent.core.errors import AgentError

ANY_NETWORK = "any"
NOTIFY_RELOAD_SINCE = 253
"""The first version of systemd with Type=notify-reload."""

_INSTANCE = re.compile(r"[a-z][a-z0-9-]{0,20}")
_GROUP = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_UNIT = re.compile(r"[A-Za-z0-9:_.@-]{1,200}\.(service|socket|target)")
_PROGRAM = re.compile(r"/[A-Za-z0-9_.+@/-]+")


class Choice(msgspec.Struct, frozen=True):
    """`instance` None: the one agent of the host."""

    program: Path
    systemd: int
    instance: str | None = None
    groups: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    reloads: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    has_dynamic_user: bool = False
    is_root: bool = False
    has_encrypted_credentials: bool = False
    keeps_leases: bool = False
    sees_other_programs: bool = False

    @property
    def unit(self) -> str:
        """What systemctl calls it."""
        return f"leasehold@{self.instance}.service" if self.instance else "leasehold.service"

    @property
    def user(self) -> str:
        """The user that it runs as, unless it is root."""
        return f"leasehold-{self.instance}" if self.instance else "leasehold"

    @property
    def configuration(self) -> str:
        return f"/etc/leasehold/{self.instance or 'leasehold'}.yaml"

    @property
    def credentials(self) -> str:
        """The folder with the role id, the secret id and the cache's key."""
        return f"/etc/leasehold/credentials{'/' + self.instance if self.instance else ''}"

    def check(self) -> None:
        """AgentError for the first thing that does not fit."""
        _check_words(self.instance, "--instance", _INSTANCE, "a letter, then up to 20 of a-z 0-9 -")
        for group in self.groups:
            _check_words(group, "--group", _GROUP, "the name of a group")
        for unit in self.reloads:
            _check_words(unit, "--reloads", _UNIT, "the name of a unit, such as app.service")
        _check_words(str(self.program), "--program", _PROGRAM, "an absolute path without blanks")
        for network in self.networks:
            _check_network(network)
        self._check_together()

    def _check_together(self) -> None:
        if self.is_root and self.has_dynamic_user:
            raise AgentError("--as-root and --dynamic-user: one of them")
        if self.is_root and self.reloads:
            raise AgentError("--reloads: root may reload every unit; leave it out with --as-root")
        if self.sockets and self.instance:
            raise AgentError("--socket: the sockets belong to the agent of the host")
        if ANY_NETWORK in self.networks and len(self.networks) > 1:
            raise AgentError("--network any: leave the others out")


def _check_words(text: str | None, option: str, pattern: re.Pattern[str], wanted: str) -> None:
    if text is not None and not pattern.fullmatch(text):
        raise AgentError(f"{option} {text!r}: must be {wanted}")


def _check_network(text: str) -> None:
    if text == ANY_NETWORK:
        return
    try:
        ip_network(text)
    except ValueError:
        wanted = "any, an address, or a network such as 203.0.113.0/24"
        raise AgentError(f"--network {text!r}: must be {wanted}") from None
