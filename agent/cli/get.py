"""`leasehold get`."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import click

from agent.cli.local_values import put_out
from agent.cli.options import DURATION, run_loop
from agent.cli.running import asking_options, secrets_socket
from agent.client import AsyncClient, ClientError, NotYet, Unreachable
from agent.core.clock import Clock, SystemClock
from agent.core.errors import AgentError, NotInTime

ASK_EVERY = 0.5
"""Seconds between two questions while there is no value, or no agent."""


@click.command()
@click.argument("what", metavar="NAME[.FIELD]")
@click.option(
    "--wait",
    type=DURATION,
    metavar="DURATION",
    help="Wait so long for an agent that is not there, or has no value yet.",
)
@asking_options
def command(what: str, wait: float | None, config: tuple[Path, ...], socket: str | None) -> None:
    """Print a field of a secret as it is, or all fields as JSON, as the running agent has them.

    The rules of the agent's secrets listener say what this process may have. The listener is found
    in the configuration, or named by --socket or LEASEHOLD_SOCKET. Exit code 1: denied, or not
    there; 3: not had yet.

    \b
    Example: leasehold get database.password --socket /run/leasehold/secrets.sock
             leasehold get database --wait 30s -c /etc/leasehold/leasehold.yaml | jq .
    """
    client = AsyncClient(secrets_socket(config, socket))
    try:
        said = run_loop(patiently(client, what, wait or 0.0, SystemClock()))
    except (NotYet, Unreachable) as error:
        is_late = wait is not None or isinstance(error, NotYet)
        raise (NotInTime if is_late else AgentError)(f"{what}: {error}") from None
    except ClientError as error:
        raise AgentError(f"{what}: {error}") from None
    put_out(said)


async def patiently(client: AsyncClient, what: str, wait: float, clock: Clock) -> bytes:
    """What was asked for; after `wait` seconds, why it is not there."""
    deadline = clock.now() + wait
    while True:
        try:
            return await _asked(client, what)
        except (NotYet, Unreachable) as error:
            left = deadline - clock.now()
            if left <= 0:
                raise
            await clock.sleep(min(left, max(error.retry_after, ASK_EVERY)))


async def _asked(client: AsyncClient, what: str) -> bytes:
    name, dot, field = what.partition(".")
    if dot:
        return await client.field(name, field)
    value = (await client.get(name)).value
    return json.dumps(value, indent=2, ensure_ascii=False, default=_as_base64).encode()


def _as_base64(value: Any) -> dict[str, str]:
    """As `local get` shows bytes."""
    return {"base64": base64.b64encode(value).decode()}
