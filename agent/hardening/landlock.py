"""Landlock, as far as we need it: a process that writes, makes and removes below named places only.

Reading and executing are left alone. The rule counts for the calling thread and what it starts, and
can only ever be narrowed; so it is made while there is one thread. Beside files it has one more
effect: the process may no longer look into others (`/proc/PID/exe`), only into what it started.

Source: linux/landlock.h, landlock(7). Moving a file from one folder to another is possible from the
second version of the interface on (Linux 5.19); a socket of ours appears that way.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path

from agent.hardening.kernel import syscall

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION = 1
PATH_BENEATH = 1
OLDEST = 2

WRITE_FILE = 1 << 1
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (
    1 << bit for bit in range(6, 13)
)
REFER = 1 << 13
TRUNCATE = 1 << 14

DEVICES = MAKE_CHAR | MAKE_BLOCK
"""Forbidden everywhere."""
IN_FOLDERS = REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM
OF_FILES = WRITE_FILE | TRUNCATE
WRITES = IN_FOLDERS | OF_FILES | REFER


def version() -> int:
    """Of the kernel's interface. OSError: ENOSYS, EOPNOTSUPP (not enabled), EPERM (filtered)."""
    return syscall(CREATE_RULESET, None, 0, VERSION)


def restrict(places: Mapping[Path, int]) -> None:
    """From now on this thread has only these rights there and below; OSError. Never undone."""
    handled = (WRITES | DEVICES) & _known(version())
    ruleset = _ruleset(handled)
    try:
        for place, rights in places.items():
            _permit(ruleset, place, rights & handled)
        syscall(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def is_single_threaded() -> bool:
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except OSError:
        return False


def _known(kernel: int) -> int:
    return ~0 if kernel >= 3 else ~TRUNCATE


def _ruleset(handled: int) -> int:
    import ctypes

    attributes = ctypes.c_uint64(handled)  # handled_access_fs, the first field of the struct
    return syscall(CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)


def _permit(ruleset: int, place: Path, rights: int) -> None:
    import ctypes

    descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        if not place.is_dir():
            rights &= OF_FILES
        rule = struct.pack("=Qi", rights, descriptor)  # a packed struct in the kernel, too
        syscall(ADD_RULE, ruleset, PATH_BENEATH, ctypes.c_char_p(rule), 0)
    finally:
        os.close(descriptor)
