"""Telling an app by a signal: to the process of a pid file or a unit, or to all of a program.

A signal is sent to a pidfd that was opened *before* the last look at who the process is, so it
reaches the process that was looked at or none, whatever becomes of its number.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.config.model import NotifySignal
from agent.core.clock import Clock, SystemClock, wall_at
from agent.core.errors import ConfigurationError, NotifyError
from agent.delivery.announcement import Announcement
from agent.delivery.notify import Notifier, pid_file, procfs
from agent.delivery.notify.pid_file import PidFile
from agent.delivery.notify.systemd import Unit

ATTEMPTS = 5
"""How often it is looked again where the pid changes under our hands."""

MACHINE_CLOCK = SystemClock()


def signaller(spec: NotifySignal) -> Notifier:
    """The notifier for an entry with exactly one of `pid_file`, `process` and `unit`."""
    number = _number(spec.signal)
    match spec:
        case NotifySignal(pid_file=Path() as path, process=None, unit=None):
            return PidFileSignal(number, path)
        case NotifySignal(pid_file=None, process=Path() as path, unit=None):
            return ProgramSignal(number, path)
        case NotifySignal(pid_file=None, process=None, unit=str() as unit):
            return UnitSignal(number, unit)
    raise ConfigurationError(["signal: exactly one of pid_file, process and unit must be there"])


def _number(name: str) -> signal.Signals:
    try:
        return signal.Signals["SIG" + name.upper().removeprefix("SIG")]
    except KeyError:
        raise ConfigurationError([f"signal: {name!r} is not the name of a signal"]) from None


class PidFileSignal:
    """To the process that a pid file names; the file is read anew each time."""

    def __init__(self, number: signal.Signals, path: Path, clock: Clock = MACHINE_CLOCK) -> None:
        self._number, self._path, self._clock = number, path, clock
        self._booted_at = wall_at(clock, 0.0)
        self.target = f"{number.name} to {path}"

    async def notify(self, announcement: Announcement) -> None:
        """Signal it. `is_absent` if there is no file, or no process."""
        await asyncio.to_thread(self._notify)

    def _notify(self) -> None:
        for _ in range(ATTEMPTS):
            looked_at = self._clock.now()
            if self._is_told(pid_file.read(self._path), looked_at):
                return
        raise NotifyError(self.target, "the pid file changes all the time")

    def _is_told(self, file: PidFile, looked_at: float) -> bool:
        """Signal the process; False if by now the file means another."""
        try:
            with _opened(self.target, file.pid) as pidfd:
                process = procfs.status(file.pid, pidfd)
                if self._is_changed(file.pid) or process.started_at > looked_at:
                    return False
                file.check(process, self._wall_of(process.started_at))
                _send(self.target, file.pid, pidfd, self._number)
                return True
        except ProcessLookupError:
            if self._is_changed(file.pid):
                return False
            reason = f"no process has the pid {file.pid} of the file"
            raise NotifyError(self.target, reason, is_absent=True) from None

    def _is_changed(self, pid: int) -> bool:
        return pid_file.read(self._path).pid != pid

    def _wall_of(self, started_at: float) -> float:
        """The wall time of a start, by the clock as it was set when the file may have been written.

        A wall clock that was put forward since (a resumed virtual machine) must not make the
        process look younger than its file.
        """
        return started_at + min(self._booted_at, wall_at(self._clock, 0.0))


class ProgramSignal:
    """To every process that runs an executable, except ourselves."""

    def __init__(self, number: signal.Signals, path: Path) -> None:
        self._number, self._path = number, path
        self.target = f"{number.name} to {path}"

    async def notify(self, announcement: Announcement) -> None:
        """Signal them all, then report the failures. `is_absent` if there is none."""
        await asyncio.to_thread(self._notify)

    def _notify(self) -> None:
        # The path may be a link here, and lead elsewhere (or nowhere) in the app's container.
        paths = {str(self._path), os.path.realpath(self._path)}
        told, failures = 0, []
        for pid in procfs.pids():
            try:
                told += pid != os.getpid() and self._signal_if(paths, pid)
            except NotifyError as error:
                failures.append(error.reason)
        if failures:
            raise NotifyError(self.target, "; ".join(failures))
        if not told:
            raise NotifyError(self.target, f"no process runs {self._path}", is_absent=True)

    def _signal_if(self, paths: set[str], pid: int) -> bool:
        try:
            if procfs.executable(pid) not in paths:
                return False
            with _opened(self.target, pid) as pidfd:
                if procfs.executable(pid) not in paths:
                    return False
                _send(self.target, pid, pidfd, self._number)
                return True
        except ProcessLookupError:
            return False
        except PermissionError:
            self._check_stranger(paths, pid)
            return False

    def _check_stranger(self, paths: set[str], pid: int) -> None:
        """A process whose program is hidden from us is an error only if it goes by that name.

        Otherwise an agent that is not root would take any app for absent, and never tell it.
        """
        names = {Path(each).name[: procfs.COMM_LENGTH] for each in paths}
        if procfs.command_name(pid) in names:
            reason = f"pid {pid} may be it, but is another user's (CAP_SYS_PTRACE would tell)"
            raise NotifyError(self.target, reason)


class UnitSignal:
    """To the main process of a systemd unit."""

    def __init__(self, number: signal.Signals, unit: str) -> None:
        self._number = number
        self.target = f"{number.name} to {unit}"
        self._unit = Unit(unit, self.target)

    async def notify(self, announcement: Announcement) -> None:
        """Signal it. `is_absent` if the unit does not run."""
        pid = await self._main_pid()
        for _ in range(ATTEMPTS):
            try:
                with _opened(self.target, pid) as pidfd:
                    if (now := await self._main_pid()) == pid:
                        return _send(self.target, pid, pidfd, self._number)
                    pid = now
            except ProcessLookupError:
                pid = await self._main_pid()
        raise NotifyError(self.target, "its main process changes all the time")

    async def _main_pid(self) -> int:
        state = await self._unit.state()
        if state.is_stopped or state.has_failed:
            raise NotifyError(self.target, f"the unit is {state.active}", is_absent=True)
        if state.main_pid in (0, os.getpid()):
            reason = "the unit has no main process" if not state.main_pid else "that is the agent"
            raise NotifyError(self.target, reason)
        return state.main_pid


@contextmanager
def _opened(target: str, pid: int) -> Iterator[int]:
    """The pidfd of a process. Within, ProcessLookupError says that it has ended."""
    try:
        with procfs.pidfd(pid) as pidfd:
            yield pidfd
    except ProcessLookupError:
        raise
    except OSError as error:
        reason = f"pid {pid} can't be examined: {error.strerror}"
        raise NotifyError(target, reason) from None


def _send(target: str, pid: int, pidfd: int, number: signal.Signals) -> None:
    """Signal the process; ProcessLookupError if it has ended."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except PermissionError:
        raise NotifyError(target, f"pid {pid}: not permitted (CAP_KILL is missing)") from None
