"""The service manager is kept informed: ready, reloading, stopping, status, and a watchdog.

sd_notify(3): datagrams of KEY=value lines to NOTIFY_SOCKET; without that variable nothing is sent,
and a message that can't be sent is not worth a failure. The start's time limit is not extended
while a store can't be had: TimeoutStartSec= is for the administrator to say.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from agent.core.clock import Clock, monotonic_usec
from agent.core.events import INFO, Event, Ready, Reloaded, Reloading, ReloadRefused, Stopping

STATUS_EVERY = 1.0
"""Seconds between two STATUS= at least."""


class Systemd:
    """Listens to events; `run` sends status and the watchdog's signs of life.

    `summary()` is the status, asked for when something has happened. The signs come from the event
    loop, so that a loop that hangs is restarted.
    """

    def __init__(
        self,
        summary: Callable[[], str],
        clock: Clock,
        *,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._summary = summary
        self._clock = clock
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog_every = _watchdog_every(environment) if self._address else None
        self._ticked_at = clock.now()
        self._has_news = asyncio.Event()
        self._is_ready = self._is_reloading = self._is_stopping = False
        self._said = ""

    @property
    def is_wanted(self) -> bool:
        """There is a service manager that wants to know."""
        return bool(self._address)

    def is_ticking(self) -> bool:
        """The last sign of life is not overdue; without a watchdog there is none to give."""
        every = self._watchdog_every
        return every is None or self._clock.now() - self._ticked_at < 2 * every

    def __call__(self, event: Event) -> None:
        match event:
            case Ready():
                self._is_ready = True
                self._send("READY=1", self._status())
            case Stopping():
                self._is_stopping = True
                self._send("STOPPING=1", f"STATUS={_line(str(event))}")
            case Reloading():
                self._reloading()
            case Reloaded() | ReloadRefused():
                self._reloaded()
        if event.level >= INFO:
            self._has_news.set()

    async def run(self) -> None:
        """Status after news, signs of life in time; never returns."""
        every = self._watchdog_every
        pause = STATUS_EVERY if every is None else min(STATUS_EVERY, every / 2)
        while self._address:
            await self._clock.wait(self._has_news, self._next_sign_at())
            if self._has_news.is_set():
                self._has_news.clear()
                self._say()
            self._give_sign()
            await self._clock.sleep(pause)
        await asyncio.Event().wait()

    def _next_sign_at(self) -> float | None:
        return None if self._watchdog_every is None else self._ticked_at + self._watchdog_every

    def _give_sign(self) -> None:
        """WATCHDOG=1, if the next look would be late for it."""
        at = self._next_sign_at()
        if at is not None and self._clock.now() >= at:
            self._ticked_at = self._clock.now()
            self._send("WATCHDOG=1")

    def _say(self) -> None:
        status = self._status()
        if status != self._said and not self._is_stopping:
            self._said = status
            self._send(status)

    def _status(self) -> str:
        return f"STATUS={_line(self._summary())}"

    def _reloading(self) -> None:
        """Before the agent is ready a reload is a part of its start."""
        self._is_reloading = self._is_ready
        if self._is_ready:
            self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic_usec()}")

    def _reloaded(self) -> None:
        """The end of a reload is said by READY=1, its beginning if that was not."""
        if not self._is_reloading:
            self._reloading()
        if self._is_reloading:
            self._is_reloading = False
            self._send("READY=1", self._status())

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.setblocking(False)
            manager.sendto("\n".join(assignments).encode(), self._address)


def _address(name: str) -> str:
    """A path or, with `@`, a name in the abstract namespace."""
    return "\0" + name[1:] if name.startswith("@") else name


def _watchdog_every(environment: Mapping[str, str]) -> float | None:
    """Seconds between two signs: half of what is allowed. None if this process is not watched."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 2_000_000 if text.isdecimal() and int(text) else None


def _line(text: str) -> str:
    return " ".join(text.split())
