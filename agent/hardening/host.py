"""What this host does for the agent's secrets, or against them: for `check`, in its own lines.

Nothing here is the configuration's fault, so nothing is an error; where there is something to do,
the line says what. Everything is read from /proc, and what can't be read is left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from agent.hardening.kernel import own_status
from agent.hardening.protection import Protection

PROC = Path("/proc")


def judged(*, is_locked: bool) -> list[Protection]:
    """`is_locked`: the process's memory can't be swapped out."""
    looks: list[Callable[[], Protection | None]] = [
        _user,
        _system_calls,
        _ptrace,
        _core_pattern,
        lambda: _swap(is_locked=is_locked),
    ]
    return [found for look in looks if (found := look()) is not None]


def _user() -> Protection:
    name = "user"
    if os.geteuid() != 0:
        return Protection(name, True, f"not root (uid {os.geteuid()})")
    effective = int(own_status().get("CapEff", "0"), 16)
    everything = int(own_status().get("CapBnd", "0"), 16)
    last = _number("sys/kernel/cap_last_cap")
    if last is not None and effective == everything == (1 << (last + 1)) - 1:
        reason = (
            "root with all capabilities; leave it the few that it needs (CapabilityBoundingSet= in "
            "deploy/systemd), or run it as a user of its own"
        )
        return Protection(name, False, reason)
    return Protection(name, True, f"root with {effective.bit_count()} capabilities")


def _system_calls() -> Protection | None:
    name, mode = "system call filter", own_status().get("Seccomp")
    if mode is None:
        return None
    if mode == "2":
        return Protection(name, True, "set by what started this process")
    reason = "none; systemd (SystemCallFilter=) and container engines set one"
    return Protection(name, False, reason)


def _ptrace() -> Protection:
    name, scope = "ptrace scope", _number("sys/kernel/yama/ptrace_scope")
    if scope is None:
        reason = "no Yama: a user's processes may attach to each other, but not to the agent"
        return Protection(name, False, reason)
    if scope == 0:
        reason = (
            "kernel.yama.ptrace_scope is 0: an app can be read by other processes of its user; "
            "set it to 1"
        )
        return Protection(name, False, reason)
    return Protection(name, True, f"kernel.yama.ptrace_scope is {scope}")


def _core_pattern() -> Protection | None:
    name, pattern = "apps' core dumps", _text("sys/kernel/core_pattern")
    if pattern is None:
        return None
    if pattern.startswith("|"):
        reason = (
            f"go to {pattern[1:].split()[0]}, whatever the limit, with the secrets in them; an app "
            "that must not be dumped sets PR_SET_DUMPABLE 0 itself"
        )
        return Protection(name, False, reason)
    return Protection(name, True, "off for what the agent starts; others have LimitCORE= of theirs")


def _swap(*, is_locked: bool) -> Protection | None:
    name, table = "swap", _text("swaps")
    if table is None:
        return None
    devices = [line.split()[0] for line in table.splitlines()[1:]]
    if not devices:
        return Protection(name, True, "none in use")
    kept = "the agent's memory is locked, files on tmpfs" if is_locked else "secrets"
    reason = f"{', '.join(devices)}: {kept} may be written there; encrypt it, mount tmpfs noswap"
    return Protection(name, is_locked, reason)


def _number(path: str) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.isdecimal() else None


def _text(path: str) -> str | None:
    try:
        return (PROC / path).read_text(errors="replace").strip()
    except OSError:
        return None
