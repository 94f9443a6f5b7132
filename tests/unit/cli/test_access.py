"""`leasehold access`: the rules explained, from the text alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONFIGURATION = """\
stores:
  vault:
    type: vault
    address: http://127.0.0.1:8200
    auth: {method: token_file, token_file: token}
secrets: {database: {path: x}, web: {path: x}, api: {path: x}}
listeners:
  - protocol: secrets
    socket: /run/leasehold/secrets.sock
    allow:
      - {user: some-app, secrets: [database]}
      - {user: some-app, group: some-group, secrets: ["w*"]}
      - {unit: "app@*.service", secrets: [web]}
  - protocol: vault
    address: 127.0.0.1:8200
    allow:
      - {secrets: [api]}
      - {user: some-app, secrets: [web], paths: [{path: "kv/data/*", capabilities: [read]}]}
  - protocol: credentials
    activated: credentials
    allow: [{unit: web.service, credentials: [web.key]}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "leasehold.yaml"
    path.write_text(CONFIGURATION)
    return path


def access(file: Path, *arguments: str) -> tuple[int, list[str], str]:
    """Exit code, lines with single spaces, and errors of the real command."""
    ran = subprocess.run(
        [sys.executable, "-m", "agent", "access", *arguments, "-c", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )
    return ran.returncode, [re.sub(" +", " ", each) for each in ran.stdout.splitlines()], ran.stderr


def test_what_a_user_may_and_why_not(file: Path) -> None:
    assert access(file, "--as", "user:some-app", "--listener", "1") == (
        0,
        [
            "listener 1: secrets at /run/leasehold/secrets.sock",
            " database yes rule 1 (user some-app)",
            " web no rule 2: group is unknown; rule 3: unit is unknown",
            " api no no rule names it",
        ],
        "",
    )


def test_all_named_facts_count(file: Path) -> None:
    who = "user:some-app,group:some-group,unit:app@1.service"
    _, lines, _ = access(file, "--as", who, "--listener", "1", "web")
    assert lines[1:] == [" web yes rule 2 (user some-app, group some-group)"]
    _, lines, _ = access(file, "--as", "user:root,unit:app@1.service", "--listener", "1")
    assert lines[1:3] == [
        " database no rule 1: user is not some-app",
        " web yes rule 3 (unit app@*.service)",
    ]


def test_on_tcp_nobody_is_known(file: Path) -> None:
    code, lines, _ = access(file, "--as", "user:some-app", "--listener", "2")
    assert code == 0
    assert lines == [
        "listener 2: vault at 127.0.0.1:8200",
        " database no no rule names it",
        " web no rule 2: user is unknown",
        " api yes rule 1 (every caller)",
        " kv/data/* (read) no rule 2: user is unknown",
    ]


def test_credentials_go_by_the_unit(file: Path) -> None:
    _, lines, _ = access(file, "--as", "unit:web.service", "--listener", "3", "web.key", "web")
    assert lines[1:3] == [" web.key yes rule 1 (unit web.service)", " web no no rule names it"]
    _, lines, _ = access(file, "--as", "unit:x.service", "--listener", "3", "web.key")
    assert lines[1] == " web.key no rule 1: unit is not web.service"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--as", "users:x"], "permitted: user, group, unit"),
        (["--as", "user:x,user:y"], "user is there twice"),
        (["--as", "user:"], "is no FACT:VALUE"),
        (["--as", "user:x", "--listener", "4"], "--listener must be 1 to 3"),
        (["--as", "user:x", "wob"], 'did you mean "web"?'),
    ],
)
def test_a_mistake_is_said(file: Path, arguments: list[str], said: str) -> None:
    code, lines, errors = access(file, *arguments)
    assert (code, lines) == (2, []) and said in errors


def test_where_there_is_no_listener(file: Path) -> None:
    file.write_text(CONFIGURATION.partition("listeners:")[0])
    code, _, errors = access(file, "--as", "user:x")
    assert code == 2 and "the configuration has no listeners" in errors
