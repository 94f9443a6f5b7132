"""Children of others: as PID 1 of a container we inherit every orphan, and have to reap it.

An orphan that nobody waits for stays in the process table as a zombie, until the container has no
numbers left. Our own children are told from orphans by `spawn.children`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from agent.delivery.process.spawn import children

_listeners: list[Callable[[], None]] = []


@contextlib.contextmanager
def at_child_signal(listener: Callable[[], None]) -> Iterator[None]:
    """While entered, the listener is called on the loop after each SIGCHLD; several may be.

    Main thread only. (uvloop keeps `add_signal_handler` for SIGCHLD to itself, in case it is asked
    for subprocesses; it is not.)
    """
    _listeners.append(listener)
    before = signal.signal(signal.SIGCHLD, _telling(asyncio.get_running_loop()))
    signal.siginterrupt(signal.SIGCHLD, False)  # system calls of libraries go on
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)
        _listeners.remove(listener)


def _telling(loop: asyncio.AbstractEventLoop) -> Callable[[int, FrameType | None], None]:
    def tell(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(_tell_listeners)

    return tell


@contextlib.contextmanager
def reaping_orphans() -> Iterator[None]:
    """While entered, orphans are reaped as they end.

    For PID 1 and for subreapers; anywhere else there are no orphans, and it does nothing. All
    children of the agent's own must come from `spawn`.
    """
    with at_child_signal(reap_orphans):
        reap_orphans()
        yield


def reap_orphans() -> None:
    """Reap all that have ended by now; our own children take note of their end themselves."""
    with contextlib.suppress(ChildProcessError):  # we have none
        while (ended := _look()) is not None:
            if (own := children.get(ended.si_pid)) is not None:
                own.reap()
            else:
                os.waitid(os.P_PID, ended.si_pid, os.WEXITED | os.WNOHANG)


def _look() -> os.waitid_result | None:
    """Any child that has ended, left as it is."""
    return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)


def _tell_listeners() -> None:
    for listener in tuple(_listeners):
        listener()
