"""What is typed at a terminal reaches the child once; Ctrl-Z gives the shell its terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.delivery.process.spawn import Spawned, spawn
from tests.rig.needs import needs_program
from tests.rig.reports import PATIENCE, Reports, reports
from tests.rig.waiting import eventually

ROOT = Path(__file__).parents[4]
LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])

# Takes the terminal that is its standard input as its own, as a login does, then the rest.
LOGS_IN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
LOGS_IN += "os.execvp(sys.argv[1], sys.argv[1:])"

COUNTS_INTERRUPTS = """
trap 'echo interrupted >"$REPORTS"' INT
trap 'exit 4' USR1
trap 'echo continued >"$REPORTS"' CONT
echo $$ >"$REPORTS"
while :; do read line && echo "typed $line" >"$REPORTS"; done
"""


class Terminal:
    """The far end of a terminal: types, and reads what is shown."""

    def __init__(self, fd: int, program: Spawned) -> None:
        self._fd = fd
        self.program = program
        self.shown = ""
        self._more = asyncio.Event()

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while text not in self.shown:
                self._more.clear()
                await self._more.wait()
        self.shown = self.shown.partition(text)[2]

    def foreground(self) -> int:
        return int.from_bytes(fcntl.ioctl(self._fd, termios.TIOCGPGRP, b"1234"), sys.byteorder)

    def read(self) -> None:
        try:
            self.shown += os.read(self._fd, 65536).decode(errors="replace")
        except OSError:  # nobody has it open any more
            asyncio.get_running_loop().remove_reader(self._fd)
        self._more.set()


@asynccontextmanager
async def terminal(command: list[str], **environment: str) -> AsyncIterator[Terminal]:
    """A login session on a terminal of its own, with the command as its first process."""
    ours, theirs = pty.openpty()
    loop = asyncio.get_running_loop()
    try:
        program = spawn(
            [sys.executable, "-c", LOGS_IN, *command],
            environment={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            new_session=True,
        )
        screen = Terminal(ours, program)
        loop.add_reader(ours, screen.read)
        async with program:
            yield screen
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        os.close(theirs)


async def greeted(screen: Terminal, told: Reports) -> None:
    """The child has the terminal: it reads what is typed."""
    screen.type("hello\n")
    await told.skip_to("typed hello")


def supervised(loop: str, script: str = COUNTS_INTERRUPTS) -> list[str]:
    return [sys.executable, "-m", "tests.rig.supervised", loop, "sh", "-c", script]


@LOOPS
async def test_ctrl_c_reaches_the_child_once_and_not_the_agent(tmp_path: Path, loop: str) -> None:
    with reports(tmp_path) as told:
        async with terminal(supervised(loop), REPORTS=str(told.path)) as screen:
            child = int(await told.next())
            await greeted(screen, told)
            assert screen.foreground() == child
            screen.type("\x03")
            await told.skip_to("interrupted")
            screen.type("again\n")
            assert await told.next() == "typed again"
            os.kill(child, signal.SIGUSR1)
            assert await screen.program.wait() == 4
            assert told.lines == []


@LOOPS
async def test_a_child_ended_by_ctrl_c_is_not_started_again(tmp_path: Path, loop: str) -> None:
    script = 'echo $$ >"$REPORTS"; read line; exit 1'
    with reports(tmp_path) as told:
        async with terminal(
            supervised(loop, script), REPORTS=str(told.path), RESTART="1"
        ) as screen:
            first = int(await told.next())
            screen.type("\n")
            second = int(await told.next())  # it failed, and was started again
            assert second != first
            await eventually(lambda: screen.foreground() == second)
            screen.type("\x03")
            assert await screen.program.wait() == 130


@LOOPS
async def test_ctrl_z_stops_both_and_fg_wakes_both(tmp_path: Path, loop: str) -> None:
    bash = [needs_program("bash"), "--norc", "--noprofile", "-i"]
    with reports(tmp_path) as told:
        async with terminal(
            bash, REPORTS=str(told.path), PS1="> ", SCRIPT=COUNTS_INTERRUPTS
        ) as screen:
            command = (
                f'{sys.executable} -m tests.rig.supervised {loop} sh -c "$SCRIPT"; echo code $?\n'
            )
            screen.type(command)
            child = int(await told.next())
            for _ in range(3):
                await greeted(screen, told)
                screen.type("\x1a")
                await screen.shows("Stopped")
                await screen.shows("> ")
                screen.type("fg\n")
                await screen.shows("supervised")  # bash reads no more
            await greeted(screen, told)
            os.kill(child, signal.SIGUSR1)
            await screen.shows("> ")
            screen.type("echo back $((6*7))\n")
            await screen.shows("back 42")


@LOOPS
async def test_ctrl_z_where_no_shell_could_wake_it_is_passed_over(
    tmp_path: Path, loop: str
) -> None:
    with reports(tmp_path) as told:
        async with terminal(supervised(loop), REPORTS=str(told.path)) as screen:
            child = int(await told.next())
            await greeted(screen, told)
            screen.type("\x1a")
            await told.skip_to("continued")
            await greeted(screen, told)
            os.kill(child, signal.SIGUSR1)
            assert await screen.program.wait() == 4
