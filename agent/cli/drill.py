"""`leasehold drill`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.options import config_option
from agent.core.errors import EXIT_DONE, EXIT_FAILED, AgentError

if TYPE_CHECKING:
    from agent.config.model import Configuration

OK, NOT_FOUND = 200, 404
MARGIN_SECONDS = 15.0

VERDICTS = {
    (None, "survived"): "{bundle}: its app would have survived a rotation.",
    (None, "rolled_back"): (
        "{bundle}: its app would not have taken to a rotation. The generation before was put back, "
        "and it uses that."
    ),
    ("confirm", "rolled_back"): (
        "{bundle}: the rollback works. The generation before was put back, and its app confirmed "
        "that."
    ),
    ("confirm", "survived"): "{bundle}: the rollback was not seen; there was no failure.",
}
UNPROVEN = "{bundle}: the rotation went through, but its app has confirmed nothing: {why}."
UNPROVEN_BACK = (
    "{bundle}: the generation before was put back, but its app has confirmed nothing: {why}."
)
OTHERWISE = (
    "{bundle}: its app would not have survived a rotation, and is not known to work now. "
    "The agent's log says more."
)


@click.command()
@click.argument("bundle", metavar="BUNDLE")
@click.option(
    "--fail",
    type=click.Choice(["confirm"]),
    help="Take the app's confirmation for a failure: proves the rollback.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@config_option
def command(bundle: str, fail: str | None, as_json: bool, config: tuple[Path, ...]) -> None:
    """Rehearse a rotation with the running agent and app, without changing any secret.

    The same values are published as a new generation, the app is told and has to confirm; each
    step and its time are shown. Exit code 0: the app would have survived (with --fail: the
    rollback worked), 1: it would not. The agent is found by `telemetry` in its configuration,
    which must be a socket or a loopback address.

    \b
    Example: leasehold drill app -c /etc/leasehold/leasehold.yaml
             leasehold drill app --fail confirm -c /etc/leasehold/leasehold.yaml
    """
    from agent.config.load import load

    report = _report(load(config).configuration, bundle, fail)
    click.echo(json.dumps(report) if as_json else told(report, fail))
    is_good = report["outcome"] == ("rolled_back" if fail else "survived")
    raise click.exceptions.Exit(EXIT_DONE if is_good else EXIT_FAILED)


def _report(configuration: Configuration, bundle: str, fail: str | None) -> dict[str, Any]:
    from agent.app.plan import longest_handover
    from agent.cli.running import ask, refusal

    spec = configuration.bundles.get(bundle)
    longest = 0.0 if spec is None else 2 * longest_handover(spec)  # there, and back
    wish = {"bundle": bundle, "fail": fail}
    within = 2 * longest + MARGIN_SECONDS  # after a rotation that may be under way
    answer = ask(configuration.telemetry, "POST", "/drill", wish, within=within)
    if answer.status == NOT_FOUND and "detail" in answer.content:
        raise click.UsageError(refusal(answer))
    if answer.status != OK or "outcome" not in answer.content:
        raise AgentError(f"the agent refused: {refusal(answer)}")
    return answer.content


def told(report: dict[str, Any], fail: str | None) -> str:
    """The report for people: a line for each step, and the verdict."""
    steps = report["steps"]
    width = max((len(each["step"]) for each in steps), default=0)
    lines = [
        f"  {each['step']:<{width}}  {each['seconds']:7.3f} s  {_outcome(each)}" for each in steps
    ]
    return "\n".join([*lines, "", _verdict(report, fail)])


def _outcome(step: dict[str, Any]) -> str:
    """`ok`, perhaps with a remark, or why not; on one line and without what a terminal obeys."""
    reason = str(step["reason"] or "")
    said = (f"ok, but {reason}" if reason else "ok") if step["ok"] else reason
    return "".join(each if each.isprintable() else " " for each in said)


def _verdict(report: dict[str, Any], fail: str | None) -> str:
    steps, outcome = [each["step"] for each in report["steps"]], report["outcome"]
    verdict = VERDICTS.get((fail, outcome), OTHERWISE)
    if (fail, outcome) == (None, "survived") and "confirm" not in steps:
        verdict = UNPROVEN
    if outcome == "rolled_back" and "confirm again" not in steps:
        verdict = UNPROVEN_BACK
    remarks = [each["reason"] for each in report["steps"] if each["ok"] and each["reason"]]
    why = next(iter(remarks), "the bundle has no `confirm`")
    return verdict.format(bundle=report["bundle"], why=why)
