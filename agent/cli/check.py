"""`leasehold check`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.cli.options import config_option, loader, run_loop
from agent.config.load import Loaded
from agent.core.errors import EXIT_NOT_LOGGED_IN, EXIT_USAGE
from agent.core.events import counted

if TYPE_CHECKING:
    from agent.config.model import Configuration
    from agent.hardening import Hardened


@click.command()
@config_option
@click.option(
    "--live", is_flag=True, help="Log in and try each path; what this host lacks is a problem, too."
)
def command(config: tuple[Path, ...], live: bool) -> None:
    """Report every problem of a configuration, with its place; nothing is changed.

    With --live every store is logged in to and every path is read (a path with `data` is written
    to); leases and tokens are given back.

    \b
    Example: leasehold check -c leasehold.yaml --live
    """
    from agent.hardening import harden

    loaded = loader(config, on_this_host=live)()
    hardening = harden(loaded.configuration, is_judging=True)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    if live:
        _check_live(loaded)
    configuration = loaded.configuration
    click.echo(
        f"ok: {counted(len(configuration.stores), 'store')}, "
        f"{counted(len(configuration.secrets), 'secret')}, "
        f"{counted(len(configuration.bundles), 'bundle')}"
    )
    _tell_of_host(configuration, hardening)


def _tell_of_host(configuration: Configuration, hardening: Hardened) -> None:
    """What would protect an agent that is started here, like this; nothing of it is an error."""
    from agent.delivery.generations.memory import swap_advice
    from agent.hardening.host import judged
    from agent.hardening.memory import LOCKED

    is_locked = any(each.name == LOCKED and each.is_in_force for each in hardening.protections)
    click.echo("an agent started here, by this user, would have (none of it is an error):")
    for each in [*hardening.protections, *judged(is_locked=is_locked)]:
        click.echo(f"  {'yes' if each.is_in_force else 'no ':3} {each}")
    for bundle in configuration.bundles.values():
        if advice := swap_advice(bundle.directory):
            click.echo(f"  no  {advice}")


def _check_live(loaded: Loaded) -> None:
    from agent.app.live_check import LiveCheck
    from agent.core.clock import SystemClock

    problems = 0

    def tell(what: str, problem: str | None) -> None:
        nonlocal problems
        problems += problem is not None
        click.echo(f"ok: {what}" if problem is None else f"{what}: {problem}", err=bool(problem))

    live_check = LiveCheck(loaded.configuration, clock=SystemClock(), tell=tell)
    run_loop(live_check.run(os.environ))
    if problems:
        click.echo(f"leasehold: {counted(problems, 'problem')}", err=True)
        sys.exit(EXIT_USAGE if live_check.is_logged_in else EXIT_NOT_LOGGED_IN)
