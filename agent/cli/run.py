"""`leasehold run`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from agent.cli.options import config_option, hardened, keep_leases_option, run_loop


@click.command(context_settings={"ignore_unknown_options": True})
@config_option
@keep_leases_option
@click.argument("child", nargs=-1, type=click.UNPROCESSED)
def command(config: tuple[Path, ...], child: tuple[str, ...], keep_leases: bool) -> None:
    """Start the app with its secrets, keep them fresh, and end with the app's exit code.

    \b
    Example: leasehold run -c leasehold.yaml -- /usr/bin/app --serve
    """
    from agent.app.service import Service
    from agent.core.clock import SystemClock

    load, hardening = hardened(config, is_parent=True)
    service = Service(
        load,
        hardening,
        clock=SystemClock(),
        command=child,
        is_parent=True,
        keeps_leases=keep_leases,
    )
    sys.exit(run_loop(service.run()))
