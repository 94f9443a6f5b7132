"""What a book is bound to, on machines and in containers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from agent.sealed.host import Host, this_host

MACHINE = "3d1219c7c4c5404aaa1f6d2a48adfda4"


def host(directory: Path, machine: str | None, boot: str | None = "b") -> Host:
    paths = {"machine_id": directory / "machine-id", "boot_id": directory / "boot-id"}
    for path, text in zip(paths.values(), (machine, boot), strict=True):
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
    return this_host(**paths)


def test_a_machine_is_told_by_its_id_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = host(tmp_path, f"{MACHINE}\n")
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    assert host(tmp_path, f"{MACHINE}\n") == before
    assert host(tmp_path, MACHINE[::-1]).id != before.id
    assert MACHINE not in before.id


@pytest.mark.parametrize("machine", [None, "", "uninitialized\n", MACHINE.upper(), "ü" * 32])
def test_without_an_id_a_container_is_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str | None
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "pod-0")
    one = host(tmp_path, machine)
    assert host(tmp_path, machine) == one
    monkeypatch.setattr(socket, "gethostname", lambda: "pod-1")
    assert host(tmp_path, machine).id != one.id


def test_a_boot_that_cannot_be_told_is_none(tmp_path: Path) -> None:
    assert host(tmp_path, MACHINE, None).boot == ""
    assert host(tmp_path, MACHINE, " abc\n").boot == "abc"


def test_this_very_host_stays_itself() -> None:
    assert this_host() == this_host() and this_host().boot
