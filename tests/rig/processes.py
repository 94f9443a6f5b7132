"""Processes that a test starts, and that never outlive it."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel kills the child when the test process is gone."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(predicate: Callable[[], object], *, within: float, every: float = 0.02) -> None:
    """Look every `every` real seconds; AssertionError after `within`."""
    deadline = time.monotonic() + within
    pause = threading.Event()
    while not predicate():
        assert time.monotonic() < deadline, f"not so within {within:g} s: {predicate}"
        pause.wait(every)


class Daemon:
    """A process whose output is kept, line by line."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._process = subprocess.Popen(
            list(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=die_with_parent,
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_for_line(self, text: str, *, within: float = 30.0) -> str:
        """The first line that contains `text`; AssertionError if it ends or time is up first."""
        with self._more:
            self._more.wait_for(lambda: self._found(text) or not self._reader.is_alive(), within)
        found = self._found(text)
        if found is None:
            self.end(signal.SIGKILL)
        assert found is not None, f"no {text!r} in the output:\n" + "\n".join(self.lines[-30:])
        return found

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, *, within: float = 20.0) -> int:
        """Send the signal and wait for the end, by SIGKILL if need be; the exit code."""
        self._process.send_signal(number)
        try:
            code = self._process.wait(within)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join()
        return code

    def _found(self, text: str) -> str | None:
        return next((line for line in self.lines if text in line), None)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with self._more:
                    self.lines.append(line.rstrip("\n"))
                    self._more.notify_all()
        with self._more:
            self._more.notify_all()


@asynccontextmanager
async def running(start: Callable[[], Daemon], end: signal.Signals) -> AsyncIterator[None]:
    """While entered, what `start` has started runs; it is ended by that signal."""
    daemon = await asyncio.to_thread(start)
    try:
        yield
    finally:
        await asyncio.to_thread(daemon.end, end)
