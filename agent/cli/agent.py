"""`leasehold agent`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from agent.cli.options import config_option, hardened, keep_leases_option, run_loop


@click.command()
@config_option
@keep_leases_option
def command(config: tuple[Path, ...], keep_leases: bool) -> None:
    """Keep the secrets of the configuration fresh in their files, until told to end.

    SIGTERM ends it in order, SIGHUP (or a change of the file) reloads the configuration.

    \b
    Example: leasehold agent -c /etc/leasehold/leasehold.yaml
    """
    from agent.app.service import Service
    from agent.core.clock import SystemClock

    load, hardening = hardened(config)
    service = Service(load, hardening, clock=SystemClock(), keeps_leases=keep_leases)
    sys.exit(run_loop(service.run()))
