"""The credentials door of a configuration, on real watchers and stores, as a service of systemd.

`python -m tests.deploy.credentials_agent FILE`: READY=1 as soon as the socket is there; SIGTERM
ends it as the agent ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from agent.api.access import Rules
from agent.api.credentials import Activations, CredentialsDoor
from agent.api.listener import Listener
from agent.app.composition import Composition
from agent.cli.options import loader
from agent.config.model import CredentialsListener
from agent.core.clock import SystemClock
from agent.core.events import Event
from agent.file_watch import FileWatch
from agent.ledger import Ledger


def told(event: Event) -> None:
    print(event, flush=True)


def ready() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        manager.send(b"READY=1")


async def main(file: Path) -> None:
    ended, clock = asyncio.Event(), SystemClock()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    configuration = loader((file,))().configuration
    (spec,) = configuration.listeners
    assert isinstance(spec, CredentialsListener)
    rules, ledger = Rules(spec.allow), Ledger(clock)
    watch = FileWatch(clock, told)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch.run())
        composition = Composition(
            group, ledger, clock=clock, emit=told, changes=watch, environment={}
        )
        await composition.apply(configuration)
        door = CredentialsDoor(
            "credentials",
            ledger,
            Activations("credentials", ledger, clock),
            rules=lambda: rules,
            secrets=lambda: composition.configuration.secrets,
            timeout=spec.timeout,
            clock=clock,
            emit=told,
            spawn=group.create_task,
        )
        listener = Listener(spec, rules, door, clock=clock, emit=told, turn_away=door.turn_away)
        running = [group.create_task(each.run()) for each in (listener, door)]
        await listener.listening.wait()
        ready()
        await ended.wait()
        for each in running:
            each.cancel()
        await asyncio.wait(running)
        await composition.wind_up(is_final=True)
        watching.cancel()


asyncio.run(main(Path(sys.argv[1])))
