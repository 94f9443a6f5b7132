"""`leasehold check`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from agent.cli.options import config_option, loader, run_loop
from agent.config.load import Loaded
from agent.core.errors import EXIT_NOT_LOGGED_IN, EXIT_USAGE
from agent.core.events import counted


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
    loaded = loader(config, on_this_host=live)()
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
