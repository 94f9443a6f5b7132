"""The host as /proc tells it: each line says what is, and what to do where there is something."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.hardening import host

SWAPS = "Filename Type Size Used Priority\n"


def judged(
    proc: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    *,
    is_locked: bool = True,
    status: str = "Seccomp: 0",
) -> dict[str, tuple[bool, str]]:
    for name, text in files.items():
        (proc / name).parent.mkdir(parents=True, exist_ok=True)
        (proc / name).write_text(text)
    lines = dict(line.split(": ") for line in status.splitlines())
    monkeypatch.setattr(host, "PROC", proc)
    monkeypatch.setattr(host, "own_status", lambda: lines)
    found = host.judged(is_locked=is_locked)
    return {each.name: (each.is_in_force, each.reason) for each in found}


def test_a_host_that_does_what_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "sys/kernel/yama/ptrace_scope": "1\n",
        "sys/kernel/core_pattern": "core\n",
        "sys/kernel/cap_last_cap": "40\n",
        "swaps": SWAPS,
    }
    status = "Seccomp: 2\nCapEff: 0000000000004000\nCapBnd: 0000000000004000"
    found = judged(tmp_path, monkeypatch, files, status=status)
    assert len(found) == 5 and all(is_good for is_good, _ in found.values())


def test_one_that_does_not_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = f"{(1 << 41) - 1:016x}"
    files = {
        "sys/kernel/yama/ptrace_scope": "0\n",
        "sys/kernel/core_pattern": "|/usr/lib/systemd/systemd-coredump %P\n",
        "sys/kernel/cap_last_cap": "40\n",
        "swaps": SWAPS + "/dev/sda2 partition 1 0 -2\n",
    }
    status = f"Seccomp: 0\nCapEff: {everything}\nCapBnd: {everything}"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    found = judged(tmp_path, monkeypatch, files, is_locked=False, status=status)
    assert len(found) == 5 and not any(is_good for is_good, _ in found.values())
    assert "set it to 1" in found["ptrace scope"][1]
    assert "systemd-coredump" in found["apps' core dumps"][1]
    assert found["swap"][1].startswith("/dev/sda2: secrets may be written there; encrypt it")
    assert "CapabilityBoundingSet=" in found["user"][1]
    assert "SystemCallFilter=" in found["system call filter"][1]


def test_what_can_t_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    found = judged(tmp_path, monkeypatch, {}, status="Name: x")
    assert set(found) == {"user", "ptrace scope"}
    assert found["user"] == (True, "not root (uid 1000)")
