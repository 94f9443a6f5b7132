"""Calls that Python has no words for; each answers with what went wrong, if anything did.

ctypes costs a start some milliseconds, so it is imported by who calls.
"""

from __future__ import annotations

import os
from pathlib import Path


def call(function: str, *arguments: int) -> str | None:
    """Call the C library; None, or the system's reason."""
    import ctypes

    function_called = getattr(ctypes.CDLL(None, use_errno=True), function)
    if function_called(*(ctypes.c_ulong(each) for each in arguments)) == 0:
        return None
    return os.strerror(ctypes.get_errno())


def syscall(number: int, *arguments: object) -> int:
    """The answer of a system call, at least 0; OSError. Arguments are ints or ctypes' own."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    answer: int = library.syscall(ctypes.c_long(number), *given)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer


def own_status() -> dict[str, str]:
    """/proc/self/status by its keys; empty where it can't be read."""
    try:
        lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def has_capability(bit: int) -> bool:
    """In the effective set."""
    return bool(int(own_status().get("CapEff", "0"), 16) & bit)
