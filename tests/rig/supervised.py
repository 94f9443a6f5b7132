"""A program with a supervised child: `python -m tests.rig.supervised LOOP COMMAND…`.

`run` without configuration and stores, for tests that need an agent to kill or a terminal to type
at. Says what happens on standard error.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from agent.config.model import Process
from agent.core.clock import SystemClock
from agent.core.events import Event
from agent.delivery.process.child import ChildProcess
from agent.delivery.process.provision import Provision


def tell(event: Event) -> None:
    sys.stderr.write(f"{event}\n")  # in one piece
    sys.stderr.flush()


async def main(command: list[str]) -> int:
    child = ChildProcess(
        Process(on_exit="restart_on_failure" if os.environ.get("RESTART") else "exit"),
        command,
        clock=SystemClock(),
        emit=tell,
        base_environment=os.environ,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGUSR1):
        loop.add_signal_handler(number, child.forward, number)
    return await child.run(Provision({"PASSWORD": "s3cret"}))


if __name__ == "__main__":
    runner = uvloop.run if sys.argv[1] == "uvloop" else asyncio.run
    sys.exit(runner(main(sys.argv[2:])))
