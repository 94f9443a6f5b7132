"""Who has connected: a `Caller` from the kernel and /proc, without a race of pids.

The kernel keeps who called connect(2): user, groups, and a pidfd. What /proc says of a pid counts
only if the pidfd's process is still alive after it was read: until then the pid was its own.
Whatever can't be had (a process that has ended, or that is in a foreign PID namespace; an old
kernel) is not known. `who_is` blocks for some hundred microseconds, and longer where a program must
be hashed.

A path of an executable is told only if it leads the agent to that very file: in a mount namespace
of its own any process may have any path.
"""

from __future__ import annotations

import errno
import hashlib
import os
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from agent.api.caller import ON_TCP, Caller
from agent.api.cgroup import Membership, membership

PROC = Path("/proc")
SO_PEERGROUPS = 59
SO_PEERPIDFD = 77
"""Since Linux 6.5."""

LARGEST_PROGRAM = 1 << 28
"""Bytes; a larger one is not hashed."""
HASHES_KEPT = 256
_CREDENTIALS = struct.Struct("iII")
_GROUPS_AT_ONCE = 256  # Python's getsockopt takes 1024 bytes
_WHOLE_MAP = ["0", "0", "4294967295"]
OVERFLOW_ID = 65534
_hashes: dict[tuple[int, ...], str] = {}


def user_of(connection: socket.socket) -> int | None:
    """The uid of the caller alone; None on TCP. Does not block."""
    if connection.family != socket.AF_UNIX:
        return None
    return _credentials(connection)[1]


def who_is(connection: socket.socket) -> Caller:
    """All that is known but the SHA-256. OSError if there are no descriptors to look with."""
    if connection.family != socket.AF_UNIX:
        return ON_TCP
    _, uid, gid = _credentials(connection)
    known = Caller(uid=uid, gid=gid, groups=_groups(connection))
    with _peer(connection) as pidfd:
        return known if pidfd is None else _of_process(pidfd, known)


def with_hash(connection: socket.socket, caller: Caller) -> Caller:
    """The caller with the SHA-256 of its program, if that can be had."""
    with _peer(connection) as pidfd:
        if pidfd is None or caller.pid is None:
            return caller
        found = _sha256(caller.pid)
        is_known = found is not None and _pid(pidfd) == caller.pid and _is_alive(pidfd)
        return replace(caller, sha256=found) if is_known else caller


def knows_processes() -> bool:
    """Whether this kernel tells more of a caller than its user and groups. To be asked once."""
    _is_whole("uid_map")
    one, other = socket.socketpair()
    with one, other, _peer(one) as pidfd:
        return pidfd is not None


def _of_process(pidfd: int, known: Caller) -> Caller:
    pid = _pid(pidfd)
    if pid is None:
        return known
    place, executable = _membership(pid), _executable(pid)
    if not _is_alive(pidfd):
        return known
    return replace(
        known,
        pid=pid,
        executable=executable,
        unit=place.unit,
        container=place.container,
        pod_uid=place.pod_uid,
    )


# --- from the socket ----------------------------------------------------------------------------


def _credentials(connection: socket.socket) -> tuple[int, int | None, int | None]:
    """(pid, uid, gid); an id without a meaning in our user namespace is None."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return pid, _meant(uid, "uid_map"), _meant(gid, "gid_map")


def _groups(connection: socket.socket) -> frozenset[int]:
    size = struct.calcsize("I")
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _GROUPS_AT_ONCE * size)
    except OSError:  # more of them than fit, or none are kept
        return frozenset()
    numbers = struct.unpack(f"{len(raw) // size}I", raw)
    return frozenset(each for each in numbers if _meant(each, "gid_map") is not None)


@contextmanager
def _peer(connection: socket.socket) -> Iterator[int | None]:
    """A pidfd of the process that connected; None where the kernel has none."""
    try:
        pidfd = connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        yield None
        return
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _meant(number: int, map_name: str) -> int | None:
    """In a user namespace the kernel shows ids that it does not have as nobody's."""
    if number == OVERFLOW_ID and not _is_whole(map_name):
        return None
    return number


@cache
def _is_whole(map_name: str) -> bool:
    try:
        return (PROC / "self" / map_name).read_text(encoding="ascii").split() == _WHOLE_MAP
    except OSError:
        return False


# --- from /proc -----------------------------------------------------------------------------------


def _pid(pidfd: int) -> int | None:
    """In our PID namespace; None if it is not in it, or has ended (the kernel says 0, or -1)."""
    lines = _text(f"/proc/self/fdinfo/{pidfd}").splitlines()
    pid = next((int(line.split()[1]) for line in lines if line.startswith("Pid:")), 0)
    return pid if pid > 0 else None


def _is_alive(pidfd: int) -> bool:
    """A zombie is not."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)


def _membership(pid: int) -> Membership:
    try:
        return membership(_text(f"/proc/{pid}/cgroup"))
    except OSError:
        return Membership()


def _executable(pid: int) -> str | None:
    link = f"/proc/{pid}/exe"
    try:
        path = os.readlink(link)  # noqa: PTH115  # for each caller: pathlib doubles its price
        is_same = os.path.samefile(path, link)  # noqa: PTH121
    except OSError:
        return None
    return path if is_same and path.isprintable() else None


def _text(path: str) -> str:
    """A file of /proc, whole: these are short."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 16384):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts).decode(errors="surrogateescape")


def _sha256(pid: int) -> str | None:
    try:
        descriptor = os.open(PROC / str(pid) / "exe", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        # The change time is the one stamp that the file's owner can't set.
        stamps = (status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        return _hash_of(descriptor, (status.st_dev, status.st_ino, *stamps))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _hash_of(program: int, identity: tuple[int, ...]) -> str | None:
    """By what the file is, so that each is read once; `identity` ends with its size."""
    if (found := _hashes.get(identity)) is not None or identity[-1] > LARGEST_PROGRAM:
        return found
    with open(program, "rb", closefd=False) as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if len(_hashes) >= HASHES_KEPT:
        _hashes.clear()
    _hashes[identity] = found
    return found
