"""`leasehold health`."""

from __future__ import annotations

from pathlib import Path

import click

from agent.cli.options import config_files
from agent.cli.running import Answer, ask
from agent.config.addresses import host_and_port
from agent.config.model import Telemetry
from agent.config.report import Unfit
from agent.core.errors import AgentError

OK, NOT_YET = 200, 503
PATIENCE = 4.0
"""Seconds for the answer to begin: less than whoever calls this waits for it."""
PATHS = {"live": "/livez", "ready": "/readyz", "started": "/startupz"}


@click.command()
@click.option("--live", "wanted", flag_value="live", help="Its event loop answers.")
@click.option(
    "--ready",
    "wanted",
    flag_value="ready",
    default="ready",
    help="Every bundle is published, and the app of `run` was started. The default.",
)
@click.option("--started", "wanted", flag_value="started", help="It has been ready once.")
@config_files("The agent's configuration, for its `telemetry`: a file, or a folder of *.yaml.")
@click.option("--address", metavar="HOST:PORT", help="The telemetry's address, instead of -c.")
@click.option("--socket", type=click.Path(path_type=Path), help="Its socket, instead of -c.")
def command(
    wanted: str, config: tuple[Path, ...], address: str | None, socket: Path | None
) -> None:
    """Ask the running agent whether it is ready: a container's health check.

    Exit code 0: it is; 1: it is not, or nobody answers; 2: bad configuration.

    \b
    Example: leasehold health -c /etc/leasehold
             leasehold health --live --address 127.0.0.1:9847
    """
    answer = ask(_telemetry(config, address, socket), "GET", PATHS[wanted], within=PATIENCE)
    click.echo(_verdict(wanted, answer))


def _telemetry(
    config: tuple[Path, ...], address: str | None, socket: Path | None
) -> Telemetry | None:
    """Where to ask; None: the configuration has no such place."""
    if sum(map(bool, (config, address, socket))) != 1:
        raise click.UsageError("say one of -c FILE, --address HOST:PORT and --socket PATH")
    try:
        if address is not None:
            host_and_port(address)
    except Unfit as error:
        raise click.UsageError(f"--address: {error}") from None
    if not config:
        return Telemetry(address=address, socket=socket)
    from agent.config.load import load

    return load(config).configuration.telemetry


def _verdict(wanted: str, answer: Answer) -> str:
    """What is so; AgentError if it is not."""
    if answer.status not in (OK, NOT_YET) or "ok" not in answer.content:
        raise AgentError("what answers there is no leasehold agent")
    if not answer.content["ok"]:
        missing = ", ".join(map(str, answer.content.get("missing", ())))
        raise AgentError(f"not {wanted}: {missing} missing" if missing else f"not {wanted}")
    return wanted
