"""`leasehold audit`, as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agent.api.caller import Caller
from agent.audit.record import Access, Callers, Record, Stamped, access
from agent.cli import leasehold
from tests.rig.audited import APP, opened, spec_of

AT = 1_700_000_000.0
"""2023-11-14T22:13:20Z"""


def asked(
    secret: str, caller: Caller = APP, decision: str = "allowed", status: int = 200
) -> Record:
    record = Access("secrets", secret, "password", "7", decision=decision, rule=1)  # type: ignore[arg-type]
    return access(Callers().encoded(caller), "0123456789abcdef", "GET", record, status)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "audit"
    path.mkdir(mode=0o700)
    configuration = {
        "stores": {"box": {"type": "local", "file": "box", "key": {"file": "key"}}},
        "secrets": {"database": {"path": "database"}},
        "audit": {"file": str(path / "audit.jsonl")},
    }
    (tmp_path / "leasehold.yaml").write_text(json.dumps(configuration))
    file = opened(spec_of(path))
    records: list[Record] = [
        asked("database"),
        asked("web", Caller(uid=0, unit="web@1.service"), "denied", 403),
        asked("evil\x1b[2Jname", Caller(uid=54321), "denied", 403),
        {"event": "state", "change": "secret_changed", "secret": "database", "version": "8"},
        {"event": "state", "change": "bundle_published", "bundle": "app", "secrets": ["database"]},
    ]
    file.write([Stamped(AT + n, float(n), each) for n, each in enumerate(records)])
    file.keep_head(is_closed=True)
    file.close()
    return path


def run(folder: Path, *arguments: str) -> Result:
    configuration = ["-c", str(folder.parent / "leasehold.yaml")]
    return CliRunner().invoke(leasehold, ["audit", *arguments, *configuration])


def shown(folder: Path, *filters: str) -> list[int]:
    result = run(folder, "show", "--json", *filters)
    assert result.exit_code == 0, result.output
    return [json.loads(each)["seq"] for each in result.output.splitlines()]


def test_records_that_are_whole_are_ok(folder: Path) -> None:
    result = run(folder, "verify")
    assert result.exit_code == 0
    assert result.output.startswith(
        "ok: 6 records (1 to 6), from 20"
    ) and result.output.rstrip().endswith("to 2023-11-14T22:13:24.000000Z")


def test_what_is_wrong_is_said_with_its_place(folder: Path) -> None:
    file = folder / "audit.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], *lines[4:5], lines[5].replace(b"app", b"web")]))
    result = run(folder, "verify")
    assert result.exit_code == 1
    assert f"wrong: {file}:4: record 6 was changed" in result.output
    assert f"wrong: records 3 to 4 are missing before {file}:3" in result.output
    assert "not ok: 4 records" in result.output


def test_files_that_were_moved_are_verified_by_their_names(folder: Path) -> None:
    (folder / "audit.jsonl").rename(folder / "old")
    named = ["audit", "verify", str(folder / "old")]
    assert CliRunner().invoke(leasehold, named).exit_code == 2
    named += ["--key", str(folder / "audit.jsonl.key")]
    assert CliRunner().invoke(leasehold, named).exit_code == 0
    assert CliRunner().invoke(leasehold, [*named, "--from", "1"]).exit_code == 0
    (folder / "old").write_bytes((folder / "old").read_bytes().partition(b"\n")[2])
    result = CliRunner().invoke(leasehold, [*named, "--from", "1"])
    assert result.exit_code == 1 and "record 1 is missing" in result.output


def test_without_records_there_is_one_line(folder: Path) -> None:
    (folder / "audit.jsonl").unlink()
    result = CliRunner().invoke(
        leasehold, ["audit", "show", "-c", str(folder.parent / "leasehold.yaml")]
    )
    assert result.exit_code != 0 and "there are no records yet" in str(result.exception)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], [1, 2, 3, 4, 5, 6]),
        (["--secret", "data*"], [2, 5, 6]),
        (["--user", "root"], [3]),
        (["--user", "54321"], [4]),
        (["--unit", "web@*"], [3]),
        (["--decision", "denied"], [3, 4]),
        (["--event", "state"], [5, 6]),
        (["--event", "secret_changed"], [5]),
        (["--since", "2023-11-14T22:13:22Z", "--event", "access"], [4]),
        (["--until", "2023-11-14T22:13:21", "--event", "access"], [2]),
        (["--since", "1m"], [1]),
    ],
)
def test_filters_choose(folder: Path, filters: list[str], found: list[int]) -> None:
    assert shown(folder, *filters) == found


def test_the_table_tells_who_read_what_and_obeys_nobody(folder: Path) -> None:
    result = run(folder, "show")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].split() == ["when", "event", "what", "who", "listener", "decision"]
    row = next(each for each in lines if "database.password" in each)
    assert "2023-11-14 22:13:20" in row and "app[77] app.service" in row
    assert "v7" in row and "allowed, rule 1, 200" in row
    assert "\x1b[2J" not in result.output and "\\x1b[2Jname" in result.output
    assert "bundle=app secrets=database" in result.output
