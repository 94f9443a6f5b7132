"""Hardening is of a whole process: each test asks a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from agent.hardening.memory import CAP_IPC_LOCK
from tests.rig.needs import needs_root

SCRIPT = """
import array, ctypes, encodings.ascii, json, os, resource, subprocess, sys
from agent.hardening import harden_memory
libc = ctypes.CDLL(None)
if len(sys.argv) > 1:
    limit, capabilities = int(sys.argv[1]), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    header = array.array("I", [0x20080522, 0])
    sets = array.array("I", [capabilities, capabilities, 0, 0, 0, 0])
    assert libc.capset(ctypes.c_void_p(header.buffer_info()[0]),
                       ctypes.c_void_p(sets.buffer_info()[0])) == 0
advice = harden_memory().warnings
memory_file = os.memfd_create("secret")
os.write(memory_file, b"value")
child = f"cat /proc/self/fd/{memory_file}; cat /proc/{os.getpid()}/fd/{memory_file} 2>/dev/null"
read = subprocess.run(["sh", "-c", child], pass_fds=[memory_file], capture_output=True)
locked = next(line for line in open("/proc/self/status") if line.startswith("VmLck"))
print(json.dumps({
    "advice": advice,
    "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
    "dumpable": libc.prctl(3),
    "locked_kib": int(locked.split()[1]),
    "child_read": read.stdout.decode(),
    "own_descriptors": str(memory_file) in os.listdir("/proc/self/fd"),
    "mounts": bool(open("/proc/self/mountinfo").read()),
    "allocated": len(bytearray(64 * 2**20)),
}))
"""


def _hardened(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-c", SCRIPT, *arguments]
    result = subprocess.run(command, check=True, capture_output=True, timeout=30)
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def test_core_dumps_are_off_and_memory_is_not_for_others() -> None:
    state = _hardened()
    assert (state["core"], state["dumpable"]) == (0, 0)


def test_memory_is_locked_where_allowed() -> None:
    needs_root()
    state = _hardened()
    assert state["advice"] == []
    assert state["locked_kib"] > 1000


@pytest.mark.parametrize(("limit", "size"), [(65536, "64 KiB"), (6 * 2**20, "6 MiB")])
def test_with_a_finite_limit_nothing_is_locked_and_allocations_go_on(limit: int, size: str) -> None:
    needs_root()  # to become another user
    state = _hardened(str(limit), "0")
    [advice] = state["advice"]
    assert f"RLIMIT_MEMLOCK is {size};" in advice and "LimitMEMLOCK=infinity" in advice
    assert state["locked_kib"] == 0
    assert state["allocated"] == 64 * 2**20


def test_an_ordinary_user_with_the_capability_locks_in_spite_of_the_limit() -> None:
    needs_root()
    state = _hardened("65536", str(CAP_IPC_LOCK))
    assert state["advice"] == []
    assert state["locked_kib"] > 1000


def test_a_memory_file_is_still_read_through_an_inherited_descriptor() -> None:
    needs_root()
    state = _hardened("65536", "0")
    assert state["child_read"] == "value"
    assert state["own_descriptors"] and state["mounts"]


def test_the_process_that_runs_the_tests_is_left_alone() -> None:
    assert os.access("/proc/self/environ", os.R_OK)
