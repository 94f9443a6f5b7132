"""Whatever command has a secret in its memory leaves it in no core dump."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import hardening
from agent.cli import leasehold
from agent.hardening import Hardened
from tests.rig.local_store import local_store_in, made


@pytest.fixture
def hardened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with each call; this process is spared."""
    calls: list[str] = []

    def harden(*_: object, **__: object) -> Hardened:
        calls.append("harden")
        return Hardened([])

    monkeypatch.setattr(hardening, "harden", harden)
    monkeypatch.setattr(hardening, "harden_memory", harden)
    return calls


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    """A local store with `app.password`, in a bundle."""
    spec = local_store_in(tmp_path)
    made(spec)
    file = tmp_path / "leasehold.yaml"
    file.write_text(
        f"stores: {{box: {{type: local, file: {spec.file.name}, key: {{file: key}}}}}}\n"
        "secrets: {app: {path: app}}\n"
    )
    return str(file)


@pytest.mark.parametrize("words", [("local", "get", "app.password"), ("check", "--live")])
def test_a_command_that_holds_a_secret_is_hardened(
    words: tuple[str, ...], configuration: str, hardened: list[str]
) -> None:
    leasehold.main([*words, "-c", configuration], standalone_mode=False)
    assert hardened == ["harden"]


@pytest.mark.parametrize("command", ["version", "schema"])
def test_one_that_holds_none_is_not(command: str, hardened: list[str]) -> None:
    leasehold.main([command], standalone_mode=False)
    assert not hardened
