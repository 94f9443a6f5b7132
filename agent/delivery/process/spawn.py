"""Starting processes, and their end: by pidfd, so that a number used twice never misleads us.

asyncio's subprocesses are not used: their child watchers reap what is not theirs, or have their
children reaped by us where we are PID 1, and uvloop's differ from asyncio's. Here a child is a
pidfd that the loop (either one) watches like any other descriptor.

`subprocess.Popen` uses vfork where no user is changed: it returns once the child has exec'd, about
a millisecond later, and is called on the loop, so that nothing can be reaped, cancelled or
signalled halfway through a start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

from agent.core.errors import DeliveryError

OUTPUT_KEPT = 4096
KILL_AFTER = 1.0
"""Seconds that a command has between SIGTERM and SIGKILL once its time is up."""

_DRAIN_READS = 16
_CHUNK = 65536

Stream = int | IO[bytes] | None

children: dict[int, Spawned] = {}
"""Every child of this process that was spawned here and has not been reaped, by pid."""


class Spawned:
    """A running child, leader of its own process group. Its descriptor is closed when it ends.

    `async with` kills the group and waits, if the child is still there at the end of the block.
    """

    def __init__(self, process: subprocess.Popen[bytes], pidfd: int) -> None:
        self.pid = process.pid
        self._process = process
        self._pidfd = pidfd
        self._kills_group = False
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(pidfd, self.reap)
        children[self.pid] = self

    @property
    def code(self) -> int | None:
        """The exit code, 128+n for a signal; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """The exit code once it has ended; may be awaited by several, and again."""
        return await asyncio.shield(self._ended)

    def on_end(self, callback: Callable[[], object]) -> None:
        """Call back once, soon after the child has ended."""
        self._ended.add_done_callback(lambda _: callback())

    def signal(self, number: int) -> None:
        """Signal the child; nothing if it is gone. DeliveryError if that is not permitted."""
        self._send(number, lambda: signal.pidfd_send_signal(self._pidfd, number))

    def signal_group(self, number: int) -> None:
        """Signal its whole process group, under the same rules."""
        self._send(number, lambda: os.killpg(self.pid, number))

    def stopped_by(self) -> int | None:
        """The signal that has stopped it (Ctrl-Z sends one) since this was last asked, if any."""
        if self._ended.done():
            return None
        status = os.waitid(os.P_PIDFD, self._pidfd, os.WSTOPPED | os.WNOHANG)
        return None if status is None else status.si_status

    def kill_group_at_end(self) -> None:
        """From now on, whatever is left of its group when the child ends is killed."""
        self._kills_group = True

    def reap(self) -> None:
        """Take note of the end, if there is one. The loop calls it, and `reaper`."""
        if self._ended.done():
            return
        look = os.WEXITED | os.WNOHANG
        if self._kills_group and os.waitid(os.P_PIDFD, self._pidfd, look | os.WNOWAIT):
            # As long as the leader is a zombie its number is taken, so this is still its group.
            with contextlib.suppress(DeliveryError):  # what may not be killed is not ours
                self.signal_group(signal.SIGKILL)
        if (status := os.waitid(os.P_PIDFD, self._pidfd, look)) is not None:
            is_exit = status.si_code == os.CLD_EXITED
            self._close(status.si_status if is_exit else 128 + status.si_status)

    def _close(self, code: int) -> None:
        self._process.returncode = code  # or Popen would wait for the number, whoever has it then
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        del children[self.pid]
        self._ended.set_result(code)

    def _send(self, number: int, send: Callable[[], None]) -> None:
        if self._ended.done():
            return
        try:
            send()
        except ProcessLookupError:
            pass
        except OSError as error:
            reason = f"signal {number} not sent: {error.strerror}"
            raise DeliveryError(f"pid {self.pid}", reason) from None

    async def __aenter__(self) -> Spawned:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.signal_group(signal.SIGKILL)
        await self.wait()


@dataclass(frozen=True)
class Ended:
    """A command's end. `output` is the last 4 KiB of what it printed, to either stream."""

    code: int
    output: str = field(repr=False)
    is_timeout: bool


def spawn(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    new_session: bool = False,
    pass_fds: Collection[int] = (),
    uid: int | None = None,
    gid: int | None = None,
    groups: Collection[int] | None = None,
) -> Spawned:
    """Start a program (looked up in the PATH of `environment`) in a session or group of its own.

    A stream that is None is inherited. Raises DeliveryError, with the program's name alone.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            env=dict(environment),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=new_session,
            process_group=None if new_session else 0,
            pass_fds=tuple(pass_fds),
            user=uid,
            group=gid,
            extra_groups=None if groups is None else list(groups),
        )
    except OSError as error:
        how = [f"as uid {uid}"] * (uid is not None) + [f"in {cwd}"] * (cwd is not None)
        reason = f"can't be started: {error.strerror}{' (' + ', '.join(how) + ')' if how else ''}"
        raise DeliveryError(argv[0], reason) from None
    except ValueError:  # its text may quote a value
        reason = "can't be started: a NUL or an impossible character in arguments or environment"
        raise DeliveryError(argv[0].split("\0")[0], reason) from None
    return Spawned(process, _pidfd_of(process))


def signal_number(name: str) -> int:
    """The number of `HUP` or `SIGHUP`, in any case. DeliveryError for a name that is none."""
    try:
        return signal.Signals["SIG" + name.upper().removeprefix("SIG")]
    except KeyError:
        raise DeliveryError(f"signal {name}", "no such signal; TERM, HUP, USR1 … are") from None


def _pidfd_of(process: subprocess.Popen[bytes]) -> int:
    try:
        return os.pidfd_open(process.pid)
    except OSError as error:
        process.kill()
        process.wait()
        reason = f"can't be watched: {error.strerror}"
        raise DeliveryError(os.fspath(process.args[0]), reason) from None  # type: ignore[index, arg-type]


async def run_command(
    argv: Sequence[str], *, environment: Mapping[str, str], timeout: float, cwd: Path | None = None
) -> Ended:
    """Run a command in a session of its own, without input, for `timeout` seconds at the most.

    When its time is up, or the caller is cancelled, its process group gets SIGTERM and a second
    later SIGKILL. Processes that it left behind after an end of its own are not its business.
    Raises DeliveryError if it can't be started.
    """
    with _output() as (tail, into):
        child = spawn(
            argv,
            environment=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=into,
            stderr=into,
            new_session=True,
        )
        async with child:
            is_timeout = await _end_in_time(child, timeout)
        return Ended(child.code or 0, tail.text(), is_timeout)


async def _end_in_time(child: Spawned, timeout: float) -> bool:
    """Wait for the child's end, its own or ours; True if its time was up."""
    try:
        async with asyncio.timeout(timeout):
            await child.wait()
    except TimeoutError:
        await _terminate(child)
        return True
    except asyncio.CancelledError:
        await _terminate(child)
        raise
    return False


async def _terminate(child: Spawned) -> None:
    child.kill_group_at_end()
    child.signal_group(signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KILL_AFTER):
            await child.wait()


class _Tail:
    """The end of what came through a pipe; reads whenever there is something, and never blocks."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._kept = bytearray()

    def read(self) -> bool:
        """Read once; False if there was nothing (now, or ever again)."""
        try:
            chunk = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return False
        self._kept += chunk
        del self._kept[:-OUTPUT_KEPT]
        if not chunk:
            asyncio.get_running_loop().remove_reader(self._fd)
        return bool(chunk)

    def text(self) -> str:
        """All that has been written by now, unless a process left behind writes without end."""
        for _ in range(_DRAIN_READS):
            if not self.read():
                break
        return self._kept.decode(errors="replace")


@contextlib.contextmanager
def _output() -> Iterator[tuple[_Tail, int]]:
    """A pipe: the tail that reads it, and the end that a child writes to."""
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    tail = _Tail(reading)
    loop.add_reader(reading, tail.read)
    try:
        yield tail, writing
    finally:
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)
