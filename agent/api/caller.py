"""The process at the other end of a local connection."""

from __future__ import annotations

import msgspec


class Caller(msgspec.Struct, frozen=True):
    """What the kernel said when it connected. None or empty: not known.

    `groups` are the further ones, without `gid`. `executable` is a path that leads to the very file
    that runs, as the agent sees it. `unit` is one of the system's own systemd.
    """

    uid: int | None = None
    gid: int | None = None
    groups: frozenset[int] = frozenset()
    pid: int | None = None
    executable: str | None = None
    sha256: str | None = None
    unit: str | None = None
    container: str | None = None
    pod_uid: str | None = None
    is_local_socket: bool = True
    """False: TCP, nothing is known."""


ON_TCP = Caller(is_local_socket=False)
