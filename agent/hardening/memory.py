"""The process's memory: in no core dump, read by no other process, not swapped out.

Children start with core dumps off as well; the rest is back to normal with their exec.

With PR_SET_DUMPABLE 0 the files in /proc/PID belong to root. For an agent that is not root this
leaves /proc/self/fd, mountinfo, stat and smaps_rollup usable, but its own environ can't be read,
and nobody else, its child included, can open /proc/PID/fd of the agent: a child must be given
inherited descriptors (/proc/self/fd/N), never a path through the agent's number.

Locking is on fault: measured with 44 MiB resident it costs nothing, while without MCL_ONFAULT the
stacks of eight threads alone cost 64 MiB. A limit that is finite is no good: under MCL_FUTURE the
allocation that reaches it fails, and with it the agent, at some later moment.
"""

from __future__ import annotations

import resource
from pathlib import Path

from agent.hardening.kernel import call, has_capability
from agent.hardening.protection import Protection

PR_SET_DUMPABLE = 4
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
CAP_IPC_LOCK = 1 << 14
ALL_IDS = 2**32 - 1

CORE, PRIVATE, LOCKED = "core dumps off", "private memory", "memory lock"


def without_core_dumps() -> Protection:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    # The hard limit stays: a child may decide otherwise for itself.
    if soft != 0 and not _set(resource.RLIMIT_CORE, 0, hard):
        reason = "RLIMIT_CORE can't be set; start the agent with LimitCORE=0 (ulimit -c 0)"
        return Protection(CORE, False, reason, is_warning=True)
    return Protection(CORE, True, "RLIMIT_CORE is 0, for what the agent starts, too")


def undumpable() -> Protection:
    failure = call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
    if failure is None:
        return Protection(PRIVATE, True, "no other process of this user may read it or attach")
    reason = f"other processes of this user may read the agent's memory: {failure}"
    return Protection(PRIVATE, False, reason, is_warning=True)


def locked(wish: str) -> Protection:
    """`wish` as in the configuration; whether `on` was had is for the caller to judge."""
    if wish == "off":
        return Protection(LOCKED, False, "off by configuration (hardening.memory_lock)")
    failure = _lock()
    if failure is None:
        return Protection(LOCKED, True, "nothing of it is written to swap")
    return Protection(LOCKED, False, failure, is_warning=True)


def _lock() -> str | None:
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if hard == resource.RLIM_INFINITY != soft:
        _set(resource.RLIMIT_MEMLOCK, hard, hard)
    elif hard != resource.RLIM_INFINITY and not _may_lock_all():
        return (
            f"memory is not locked: RLIMIT_MEMLOCK is {_size(hard)}; secrets may reach a swap "
            "device; raise the limit to unlimited (systemd: LimitMEMLOCK=infinity) or grant "
            "CAP_IPC_LOCK"
        )
    failure = call("mlockall", MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)
    return failure and f"memory is not locked: {failure}; secrets may reach a swap device"


def _set(limit: int, soft: int, hard: int) -> bool:
    """False where a system call filter (systemd's ~@resources) forbids it."""
    try:
        resource.setrlimit(limit, (soft, hard))
    except (OSError, ValueError):  # Python's word for EPERM, whatever it is for
        return False
    return True


def _may_lock_all() -> bool:
    """CAP_IPC_LOCK counts in the first user namespace only, the one that has all numbers."""
    try:
        first, _outside, count = Path("/proc/self/uid_map").read_text("ascii").split()[:3]
    except (OSError, ValueError):
        return False
    is_first_namespace = (int(first), int(count)) == (0, ALL_IDS)
    return is_first_namespace and has_capability(CAP_IPC_LOCK)


def _size(limit: int) -> str:
    return f"{limit / 2**20:g} MiB" if limit >= 2**20 else f"{limit / 2**10:g} KiB"
