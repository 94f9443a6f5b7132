"""`leasehold status`."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.cli.options import run_loop
from agent.cli.running import (
    ANSWER_SECONDS,
    NO_PLACE,
    Answer,
    ask,
    asking_options,
    listener_socket,
    refusal,
)
from agent.config.model import Telemetry
from agent.core.clock import Clock, SystemClock
from agent.core.errors import AgentError, ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

OK = 200
LOOK_EVERY = 1.0
PATIENCE = 2.0
"""Seconds for an answer while somebody is watching."""
NO_DOOR = "telemetry: is needed to ask the running agent, or a listener of protocol secrets"

Report = dict[str, Any]
"""As of /status."""


@click.command()
@click.option("--watch", is_flag=True, help="Stay, and show every second how things stand.")
@click.option("--json", "as_json", is_flag=True, help="The agent's answer as it is.")
@asking_options
def command(watch: bool, as_json: bool, config: tuple[Path, ...], socket: str | None) -> None:
    """Show the running agent's secrets, with their leases running down, bundles and stores.

    The agent is asked through `telemetry` of its configuration, or the socket that --socket or
    LEASEHOLD_SOCKET names. A secrets listener will do: it knows names, versions and states of what
    this process may read.

    \b
    Example: leasehold status -c /etc/leasehold/leasehold.yaml
             leasehold status --watch -c /etc/leasehold/leasehold.yaml
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people, --json for programs")
    door = _door(config, socket)
    if as_json:
        click.echo(json.dumps(_report(door)))
        return
    console = _console()
    if not watch:
        _show(console, _report(door))
    elif not console.is_terminal or console.is_dumb_terminal:
        raise click.UsageError("--watch needs a terminal")
    else:
        _watch(console, door)


def _door(config: tuple[Path, ...], named: str | None) -> Telemetry:
    """What to ask, as if it were all telemetry's."""
    if named is None and config:
        from agent.config.load import load

        configuration = load(config).configuration
        if configuration.telemetry is not None:
            return configuration.telemetry
        named = listener_socket(configuration)
        if named is None:
            raise ConfigurationError([NO_DOOR])
    named = named or os.environ.get("LEASEHOLD_SOCKET")
    if not named:
        raise click.UsageError(NO_PLACE)
    return Telemetry(socket=Path(named))


def _report(door: Telemetry, within: float = ANSWER_SECONDS) -> Report:
    """/status; what of it a secrets listener knows, where that is what answers."""
    answer = ask(door, "GET", "/status", within=within)
    if _is_report(answer):
        return answer.content
    listed = ask(door, "GET", "/v1/secrets", within=within)
    if listed.status == OK and isinstance(listed.content.get("secrets"), list):
        return {"secrets": {each["name"]: each for each in listed.content["secrets"]}}
    raise AgentError(f"the agent refused: {refusal(answer)}")


def _is_report(answer: Answer) -> bool:
    return answer.status == OK and isinstance(answer.content.get("secrets"), dict)


def _console() -> Console:
    from rich.console import Console

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode shows something, too
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 120  # nobody wraps a pipe
    return console


def _show(console: Console, report: Report) -> None:
    from agent.cli.status_view import Terms, view

    console.print(view(report, SystemClock().wall(), Terms(), width=console.width))


def _watch(console: Console, door: Telemetry) -> None:
    """Until Ctrl-C, which is how it is meant to end."""
    try:
        run_loop(_follow(console, lambda: _report(door, PATIENCE), SystemClock()))
    except KeyboardInterrupt:
        return


async def _follow(console: Console, ask_now: Callable[[], Report], clock: Clock) -> None:
    """One picture a second, and at once when the window has another size; never returns."""
    from rich.live import Live

    from agent.cli.status_view import Terms, view

    resized = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, resized.set)
    terms, report, gone = Terms(), Report(), None
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            try:
                report, gone = await asyncio.to_thread(ask_now), None
            except AgentError as error:
                gone = str(error)
            width, height = console.size
            picture = view(report, clock.wall(), terms, width=width, height=height, gone=gone)
            live.update(picture, refresh=True)
            resized.clear()
            await clock.wait(resized, clock.now() + LOOK_EVERY)
