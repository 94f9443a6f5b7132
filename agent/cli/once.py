"""`leasehold once`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from agent.cli.options import DURATION, config_option, hardened, run_loop


@click.command()
@config_option
@click.option(
    "--timeout",
    type=DURATION,
    default="2m",
    show_default=True,
    help="Longest time for everything to be there.",
)
def command(config: tuple[Path, ...], timeout: float) -> None:
    """Render every bundle once and end: an init container, or a script's first line.

    Ends with 3 if not everything was had in time, with 4 if nobody could log in. Leases are left
    to the app; nobody renews them.

    \b
    Example: leasehold once -c leasehold.yaml --timeout 30s
    """
    from agent.app.once import once
    from agent.core.clock import SystemClock

    load, hardening = hardened(config)
    clock = SystemClock()
    if not sys.stderr.isatty():
        run_loop(once(load, hardening, clock=clock, timeout=timeout))
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("reading the configuration") as status:
        run_loop(once(load, hardening, clock=clock, timeout=timeout, show=status.update))
    console.print("[green]✓[/] everything is rendered")
