"""`leasehold refresh`."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.options import config_option
from agent.core.errors import AgentError

ACCEPTED, NOT_FOUND = 202, 404


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@config_option
def command(names: tuple[str, ...], config: tuple[Path, ...]) -> None:
    """Ask the running agent to read secrets again now: those named, or all.

    What has changed is in the files as soon as it was read; for a dynamic secret, a read is a new
    credential. The agent asks its store at most once a second for each secret. It is found by
    `telemetry` in its configuration, which must be a socket or a loopback address.

    \b
    Example: leasehold refresh database -c /etc/leasehold/leasehold.yaml
    """
    from agent.cli.running import ask, refusal
    from agent.config.load import load

    telemetry = load(config).configuration.telemetry
    answer = ask(telemetry, "POST", "/refresh", {"secrets": names} if names else {})
    if answer.status == NOT_FOUND and "detail" in answer.content:
        raise click.UsageError(refusal(answer))
    if answer.status != ACCEPTED:
        raise AgentError(f"the agent refused: {refusal(answer)}")
    click.echo(f"reading again: {', '.join(answer.content['asked']) or 'nothing to read'}")
