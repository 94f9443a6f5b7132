"""What a long-running command does for the secrets in its own memory.

No core dump, no other process of the same user that reads our memory, nothing swapped out. Children
start with core dumps off as well; the rest is back to normal with their exec.

With PR_SET_DUMPABLE 0 the files in /proc/PID belong to root. For an agent that is not root this
leaves /proc/self/fd, mountinfo, stat and smaps_rollup usable, but its own environ can't be read,
and nobody else, its child included, can open /proc/PID/fd of the agent: a child must be given
inherited descriptors (/proc/self/fd/N), never a path through the agent's number.

Locking is on fault: measured with 44 MiB resident it costs nothing, while without MCL_ONFAULT the
stacks of eight threads alone cost 64 MiB. A limit that is finite is no good: under MCL_FUTURE the
allocation that reaches it fails, and with it the agent, at some later moment.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

PR_SET_DUMPABLE = 4
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
CAP_IPC_LOCK = 1 << 14
ALL_IDS = 2**32 - 1


def harden() -> list[str]:
    """Do all of it; a line of advice for each part that could not be had."""
    return [advice for advice in (_no_core(), _not_dumpable(), _lock_memory()) if advice]


def _no_core() -> str | None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))  # a child may decide otherwise for itself
    return None


def _not_dumpable() -> str | None:
    failure = _call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
    if failure is None:
        return None
    return f"other processes of this user may read the agent's memory: {failure}"


def _lock_memory() -> str | None:
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if hard == resource.RLIM_INFINITY != soft:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    elif hard != resource.RLIM_INFINITY and not _may_lock_all():
        return (
            f"memory is not locked: RLIMIT_MEMLOCK is {_size(hard)}; secrets may reach a swap "
            "device; raise the limit to unlimited (systemd: LimitMEMLOCK=infinity) or grant "
            "CAP_IPC_LOCK"
        )
    failure = _call("mlockall", MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)
    return failure and f"memory is not locked: {failure}; secrets may reach a swap device"


def _may_lock_all() -> bool:
    """CAP_IPC_LOCK counts in the first user namespace only, the one that has all numbers."""
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
        first, _outside, count = Path("/proc/self/uid_map").read_text("ascii").split()[:3]
    except (OSError, ValueError):
        return False
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    is_first_namespace = (int(first), int(count)) == (0, ALL_IDS)
    return is_first_namespace and bool(int(effective.split()[1], 16) & CAP_IPC_LOCK)


def _call(function: str, *arguments: int) -> str | None:
    """Call the C library; what went wrong, if anything did."""
    import ctypes

    call = getattr(ctypes.CDLL(None, use_errno=True), function)
    if call(*(ctypes.c_ulong(each) for each in arguments)) == 0:
        return None
    return os.strerror(ctypes.get_errno())


def _size(limit: int) -> str:
    return f"{limit / 2**20:g} MiB" if limit >= 2**20 else f"{limit / 2**10:g} KiB"
