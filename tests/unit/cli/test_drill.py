"""`leasehold drill`: what it makes of the agent's answer, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.rig.door import answering, http, leasehold_at

STEPS: list[dict[str, Any]] = [
    {"step": "publish", "seconds": 0.0123, "ok": True, "reason": None},
    {"step": "confirm", "seconds": 12.5, "ok": False, "reason": "GET /health:\x1b[2J status 500"},
]
AGAIN = {"step": "confirm again", "seconds": 0.25, "ok": True, "reason": None}


def report(outcome: str) -> str:
    steps = [*STEPS, AGAIN] if outcome == "rolled_back" else STEPS
    return json.dumps({"bundle": "app", "generation": 7, "outcome": outcome, "steps": steps})


def drill(folder: Path, answer: bytes, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the real command, answered so."""
    with answering(folder, answer) as telemetry:
        return leasehold_at(folder, telemetry, "drill", "app", *arguments)


@pytest.mark.parametrize(
    ("outcome", "fail", "code", "verdict"),
    [
        ("survived", (), 0, "app: its app would have survived a rotation."),
        ("rolled_back", (), 1, "app: its app would not have taken to a rotation."),
        ("failed", (), 1, "app: its app would not have survived a rotation, and is not known to"),
        ("rolled_back", ("--fail", "confirm"), 0, "app: the rollback works."),
        ("failed", ("--fail", "confirm"), 1, "app: its app would not have survived"),
        ("survived", ("--fail", "confirm"), 1, "app: the rollback was not seen"),
    ],
)
def test_each_outcome_has_its_verdict_and_exit_code(
    tmp_path: Path, outcome: str, fail: tuple[str, ...], code: int, verdict: str
) -> None:
    answer = http("200 OK", report(outcome), "application/json")
    ended, out, err = drill(tmp_path, answer, *fail)
    assert (ended, err) == (code, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:2] == ["publish 0.012 s ok", "confirm 12.500 s GET /health: [2J status 500"]
    assert lines[-2] == "" and lines[-1].startswith(verdict)


@pytest.mark.parametrize("remark", [None, "nobody is there to be told"])
def test_what_nobody_confirmed_is_not_called_survived(tmp_path: Path, remark: str | None) -> None:
    step = {"step": "notify", "seconds": 0.5, "ok": True, "reason": remark}
    told = json.loads(report("survived")) | {"steps": [step]}
    code, out, _ = drill(tmp_path, http("200 OK", json.dumps(told), "application/json"))
    why = remark or "the bundle has no `confirm`"
    assert code == 0
    assert out.splitlines() == [
        "  notify    0.500 s  ok" + (f", but {remark}" if remark else ""),
        "",
        f"app: the rotation went through, but its app has confirmed nothing: {why}.",
    ]


@pytest.mark.parametrize("arguments", [(), ("--fail", "confirm")])
def test_a_way_back_that_nobody_confirmed_is_not_called_working(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    told = json.loads(report("rolled_back")) | {"steps": STEPS}
    _, out, _ = drill(tmp_path, http("200 OK", json.dumps(told), "application/json"), *arguments)
    assert out.splitlines()[-1] == (
        "app: the generation before was put back, but its app has confirmed nothing: "
        "the bundle has no `confirm`."
    )


def test_a_program_has_the_report_as_it_is(tmp_path: Path) -> None:
    answer = http("200 OK", report("survived"), "application/json")
    code, out, _ = drill(tmp_path, answer, "--json")
    assert code == 0 and json.loads(out) == json.loads(report("survived"))


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (
            http("404 Not Found", '{"detail":"no bundle of this name: app"}', "application/json"),
            2,
            "Error: no bundle of this name: app\n",
        ),
        (
            http("404 Not Found", "not found\n", "text/plain"),
            1,
            "leasehold: the agent refused: status 404; is it an older version?\n",
        ),
        (
            http("409 Conflict", '{"detail":"app: a drill is under way"}', "application/json"),
            1,
            "leasehold: the agent refused: app: a drill is under way\n",
        ),
        (
            http("200 OK", "[]", "application/json"),
            1,
            "leasehold: the agent refused: status 200; is it an older version?\n",
        ),
    ],
    ids=["unknown", "older", "not now", "no report"],
)
def test_a_refusal_is_told(tmp_path: Path, answer: bytes, code: int, said: str) -> None:
    ended, out, err = drill(tmp_path, answer)
    assert (ended, out) == (code, "") and err.endswith(said)


def test_there_is_just_one_step_that_can_be_made_to_fail(tmp_path: Path) -> None:
    arguments: Any = ("drill", "app", "--fail", "notify")
    code, _, err = leasehold_at(tmp_path, {"socket": str(tmp_path / "door.sock")}, *arguments)
    assert code == 2 and "'notify' is not 'confirm'" in err


def test_an_agent_that_does_not_run_is_said(tmp_path: Path) -> None:
    door = tmp_path / "door.sock"
    code, _, err = leasehold_at(tmp_path, {"socket": str(door)}, "drill", "app")
    assert (code, err) == (1, f"leasehold: nobody listens at {door}; is the agent running?\n")
