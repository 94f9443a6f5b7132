"""The listening socket of a listener: a file, an abstract name, from systemd, or TCP on loopback.

Foreign errors stop here: whatever can't be had is an `AgentError` that says why.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import msgspec

from agent.api.conditions import HostIds
from agent.config.addresses import host_and_port
from agent.config.listener_model import LocalDoor, LoopbackDoor
from agent.core.errors import AgentError
from agent.unix_socket import UnixSocket, bind_unix

BACKLOG = 4096
"""Callers that may wait to be let in; the kernel's somaxconn is the most."""
FIRST_PASSED = 3
"""The first descriptor that systemd passes."""


class ListeningSocket(msgspec.Struct, frozen=True):
    """Non-blocking. `name` is for people."""

    name: str
    socket: socket.socket
    file: UnixSocket | None = None

    def close(self) -> None:
        """Listen no more, and take the name away; a passed one stays systemd's."""
        if self.file is not None:
            self.file.remove()
        else:
            self.socket.close()


def name_of(spec: LocalDoor) -> str:
    """What a listener is called in messages: its path, @NAME, HOST:PORT or systemd's name."""
    return spec.socket or address_of(spec) or f"systemd:{spec.activated}"


def address_of(spec: LocalDoor) -> str | None:
    """HOST:PORT of one on TCP."""
    return spec.address if isinstance(spec, LoopbackDoor) else None


def is_same_socket(old: LocalDoor, new: LocalDoor) -> bool:
    """Whether a listener can go on as it is: only its rules, limits or token differ."""
    return type(old) is type(new) and _place(old) == _place(new)


def open_socket(spec: LocalDoor, environment: Mapping[str, str] | None = None) -> ListeningSocket:
    """Listen where `spec` says. Blocks: call it in a thread."""
    if spec.socket is not None:
        opened = _abstract(spec.socket) if spec.socket.startswith("@") else _file(spec)
    elif (address := address_of(spec)) is not None:
        opened = _loopback(address)
    else:
        passed = os.environ if environment is None else environment
        opened = _passed(spec, passed, is_tcp_allowed=isinstance(spec, LoopbackDoor))
    opened.socket.listen(BACKLOG)
    return opened


def _place(spec: LocalDoor) -> tuple[object, ...]:
    return (spec.socket, address_of(spec), spec.activated, spec.owner, spec.group, spec.mode)


def _file(spec: LocalDoor) -> ListeningSocket:
    path, ids = Path(spec.socket or ""), HostIds()
    uid, gid = -1, -1
    if spec.owner is not None:
        uid = _known(path, f"user {spec.owner}", ids.user(spec.owner))
    if spec.group is not None:
        gid = _known(path, f"group {spec.group}", ids.group(spec.group))
    bound = bind_unix(path, mode=spec.mode, uid=uid, gid=gid)
    return ListeningSocket(str(path), bound.socket, bound)


def try_out(spec: LocalDoor) -> None:
    """AgentError if there is no such owner or group, or no folder that we may write to.

    Nothing is bound: a running agent may be listening there. Blocks.
    """
    if spec.socket is None or spec.socket.startswith("@"):
        return
    path, ids = Path(spec.socket), HostIds()
    if spec.owner is not None:
        _known(path, f"user {spec.owner}", ids.user(spec.owner))
    if spec.group is not None:
        _known(path, f"group {spec.group}", ids.group(spec.group))
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        reason = "we may not write to" if path.parent.is_dir() else "there is no folder"
        raise AgentError(f"can't listen at {path}: {reason} {path.parent}")


def _known(path: Path, what: str, number: int | None) -> int:
    if number is None:
        raise AgentError(f"can't listen at {path}: there is no {what} on this host")
    return number


def _abstract(name: str) -> ListeningSocket:
    return _bound(name, socket.AF_UNIX, f"\0{name[1:]}")


def _loopback(address: str) -> ListeningSocket:
    host, port = host_and_port(address)
    host = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _bound(address, family, (host, port))


def _bound(
    name: str, family: socket.AddressFamily, where: str | tuple[str, int]
) -> ListeningSocket:
    try:
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise AgentError(f"can't listen at {name}: {error.strerror or error}") from None
    try:
        listening.setblocking(False)
        if family != socket.AF_UNIX:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise AgentError(f"can't listen at {name}: {error.strerror or error}") from None
    return ListeningSocket(name, listening)


# --- passed by systemd ------------------------------------------------------------------------


def _passed(
    spec: LocalDoor, environment: Mapping[str, str], *, is_tcp_allowed: bool
) -> ListeningSocket:
    """A copy of systemd's, which outlives it: a reload finds the original again."""
    name, wanted = name_of(spec), spec.activated
    found = [number for number, each in passed_names(environment).items() if each == wanted]
    if len(found) != 1:
        there = "is none" if not found else f"are {len(found)}"
        reason = f"there {there} of this name among the sockets that systemd passed"
        raise AgentError(f"can't listen at {name}: {reason}")
    try:
        listening = socket.socket(fileno=os.dup(found[0]))
    except OSError as error:
        raise AgentError(f"can't listen at {name}: {error.strerror or error}") from None
    if (unfit := _unfit(listening, is_tcp_allowed)) is not None:
        listening.close()
        raise AgentError(f"can't listen at {name}: {unfit}")
    listening.setblocking(False)
    return ListeningSocket(name, listening)


def passed_names(environment: Mapping[str, str]) -> dict[int, str]:
    """The names of the sockets that were passed to this very process, by descriptor."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = environment.get("LISTEN_FDS", "")
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    if not count.isdecimal() or int(count) != len(names):
        return {}
    return dict(enumerate(names, FIRST_PASSED))


def _unfit(passed: socket.socket, is_tcp_allowed: bool) -> str | None:
    """Why it can't serve, or None."""
    if passed.type != socket.SOCK_STREAM:
        return "it is no stream socket; use ListenStream="
    if not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "it does not listen; use Accept=no"
    if passed.family == socket.AF_UNIX:
        return None
    if not is_tcp_allowed or passed.family not in (socket.AF_INET, socket.AF_INET6):
        return "it is no UNIX socket"
    return None if _is_loopback(passed) else "it can be reached from other hosts"


def _is_loopback(passed: socket.socket) -> bool:
    import ipaddress

    return ipaddress.ip_address(passed.getsockname()[0].partition("%")[0]).is_loopback
