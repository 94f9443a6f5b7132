"""What is written to, started and looked at, from the text of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.load import load
from agent.config.model import Configuration
from agent.hardening import needs
from agent.hardening.confinement import Confinement
from agent.hardening.landlock import REMOVE_FILE, WRITES

WHOLE = """
stores:
  vault:
    type: vault
    address: http://127.0.0.1:8200
    auth: {method: approle, role_id: x, secret_id_file: ids/secret-id}
secrets: {app: {path: secret/app}}
bundles:
  app:
    directory: memory/deep/app
    files: {app: "{{ app.password }}"}
    validate: {command: [/bin/true]}
    notify: [{signal: HUP, process: /bin/app}, {command: [/bin/true]}, {systemd: app.service}]
    confirm: {command: [/bin/true]}
listeners:
  - {protocol: secrets, socket: doors/s, allow: [{sha256: %s, secrets: [app]}]}
  - {protocol: vault, socket: "@abstract"}
  - {protocol: credentials, socket: doors/c}
telemetry: {socket: doors/t}
cache: {file: state/cache, key: {file: keys/key}, head: heads/head}
audit: {file: logs/deep/audit.jsonl}
""" % ("a" * 64)


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    for name in ("ids", "memory", "doors", "state", "heads", "logs", "keys"):
        (tmp_path / name).mkdir()
    (tmp_path / "c.yaml").write_text(WHOLE)
    return load([tmp_path / "c.yaml"]).configuration


def test_every_place_is_known_by_its_key(configuration: Configuration, tmp_path: Path) -> None:
    found = needs.places(configuration)
    assert found.pop("standard input of commands")[0] == Path("/dev/null")
    assert found == {
        "stores.vault.auth.secret_id_file": (tmp_path / "ids", REMOVE_FILE),
        "bundles.app.directory": (tmp_path / "memory", WRITES),
        "listeners[0].socket": (tmp_path / "doors", WRITES),
        "listeners[2].socket": (tmp_path / "doors", WRITES),
        "telemetry.socket": (tmp_path / "doors", WRITES),
        "cache.file": (tmp_path / "state", WRITES),
        "cache.head": (tmp_path / "heads", WRITES),
        "audit.file": (tmp_path / "logs", WRITES),
    }


def test_what_is_started_and_looked_at(configuration: Configuration) -> None:
    started = [f"bundles.app.{key}.command" for key in ("validate", "notify[1]", "confirm")]
    assert needs.commands(configuration, is_parent=False) == started
    assert needs.commands(configuration, is_parent=True)[0] == "process"
    looked = ["bundles.app.notify[0].process", "listeners[0].allow[0].sha256"]
    assert needs.looks(configuration) == looked
    assert needs.noted_looks(configuration) == ["audit"]


def test_a_link_above_is_followed_and_a_mount_is_taken_alone(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    text = WHOLE.replace("memory/deep/app", "link/app").replace("doors/t", "/proc/t")
    (tmp_path / "c.yaml").write_text(text)
    found = needs.places(load([tmp_path / "c.yaml"]).configuration)
    assert found["bundles.app.directory"][0] == tmp_path / "real"
    (tmp_path / "c.yaml").write_text(text.replace("link/app", "/proc"))
    found = needs.places(load([tmp_path / "c.yaml"]).configuration)
    assert found["bundles.app.directory"][0] == Path("/proc")


def test_the_root_directory_is_never_what_writes_are_confined_to(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "stores: {local: {type: local, file: s, key: {file: k}}}\n"
        "secrets: {app: {path: app}}\n"
        "bundles: {app: {directory: /no-such-place/app, files: {a: '{{ app.x }}'}}}\n"
    )
    configuration = load([tmp_path / "c.yaml"]).configuration
    told = Confinement().begin(configuration, is_parent=False)
    assert not told.is_in_force
    assert told.reason.startswith("bundles.app.directory is in /")
