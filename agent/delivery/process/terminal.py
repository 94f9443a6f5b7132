"""The terminal's foreground: the child's for as long as it lives, so that Ctrl-C reaches it once.

The child has a process group of its own, and a terminal sends what is typed (Ctrl-C, Ctrl-\\,
Ctrl-Z) to the group in its foreground: to the child and not to the agent, which therefore has
nothing to forward. What is sent to the agent by `kill` is forwarded as anywhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator

from agent.delivery.process.reaper import at_child_signal
from agent.delivery.process.spawn import Spawned

STDIN = 0
_WANTS_TERMINAL = (signal.SIGTTIN, signal.SIGTTOU)


@contextlib.contextmanager
def foreground(child: Spawned) -> Iterator[bool]:
    """Give the terminal to the child's group; True if there is one and it was ours to give.

    Ctrl-Z stops the child, then the agent with it, so that the shell has its terminal back; its
    `fg` or `bg` wakes both.
    """
    if _foreground() != os.getpgrp():
        yield False
        return
    _give_to(child.pid)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCONT, _follow_fg, child)
    try:
        with at_child_signal(lambda: _follow_stop(child)):
            _follow_stop(child)  # it may have asked for the terminal before it had it
            yield True
    finally:
        loop.remove_signal_handler(signal.SIGCONT)
        _give_to(os.getpgrp())


def _foreground() -> int | None:
    try:
        return os.tcgetpgrp(STDIN)
    except OSError:  # no terminal, or not the one that controls us
        return None


def _give_to(group: int) -> None:
    """Put a group in the foreground; nothing if it, or the terminal, is gone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # or it would stop us
    try:
        with contextlib.suppress(OSError):
            os.tcsetpgrp(STDIN, group)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow_stop(child: Spawned) -> None:
    """If the child was stopped, be stopped with it, and wake it when woken."""
    stopped_by = child.stopped_by()
    if stopped_by is None:
        return
    if stopped_by in _WANTS_TERMINAL and _foreground() == child.pid:
        child.signal_group(signal.SIGCONT)  # it has the terminal by now
        return
    _give_to(os.getpgrp())
    # Our whole job, as the terminal would have done it. The kernel does not stop a job that no
    # shell could wake again.
    os.kill(0, signal.SIGTSTP)
    _wake(child)


def _wake(child: Spawned) -> None:
    """Go on; with the terminal, if the shell has put us in its foreground."""
    if _foreground() == os.getpgrp():
        _give_to(child.pid)
    child.signal_group(signal.SIGCONT)


def _follow_fg(child: Spawned) -> None:
    """Woken by the shell, perhaps for the second time: after `bg` may come `fg`."""
    if _foreground() == os.getpgrp():
        _wake(child)
