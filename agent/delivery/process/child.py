"""The child of `leasehold run`: started with its secrets, told of new ones, stopped with the agent.

One coroutine lives through the child's lives. What it has to know comes from three sides (a new
provision, the child's end, the wish that it stop); each leaves word and rings `_news`.

    start ──▶ running ──(ended by itself)──▶ on_exit: exit, or start again after a delay
                │ ├────(provision changed)─▶ on_change: signal, or stop and start with the newest
                └──────(stop, cancelled)───▶ stop, and its code is the result
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Collection, Mapping, Sequence
from enum import Enum, auto
from pathlib import Path

from agent.config.model import OnChangeSignal, Process
from agent.core.backoff import Backoff
from agent.core.clock import Clock
from agent.core.events import Emit, ProcessEnded, ProcessSignalled, ProcessStarted, ProcessStopping
from agent.delivery.process.account import Account, account_of
from agent.delivery.process.guard import Guard
from agent.delivery.process.memory_files import memory_files, path_of
from agent.delivery.process.provision import Provision, Reaction, inherited, reaction
from agent.delivery.process.spawn import Spawned, signal_number, spawn
from agent.delivery.process.terminal import foreground

HEALTHY_AFTER = 60.0
"""Seconds after which an end is no longer taken for a part of the last crash."""

_CTRL_C = 128 + signal.SIGINT


class _End(Enum):
    """Why a life of the child came to its end."""

    ITS_OWN = auto()
    BY_TERMINAL = auto()
    CHANGED = auto()
    STOPPED = auto()


class ChildProcess:
    """The supervised child. `run` it in a task; tell it the rest from the same loop."""

    def __init__(
        self,
        spec: Process,
        command: Sequence[str],
        *,
        clock: Clock,
        emit: Emit,
        base_environment: Mapping[str, str],
        withhold: Collection[str] = (),
    ) -> None:
        """`withhold` names variables of `base_environment` that the child must not have.

        Raises DeliveryError for a signal that does not exist.
        """
        self._spec, self._command, self._clock, self._emit = spec, tuple(command), clock, emit
        self._name = Path(command[0]).name
        self._base = inherited(base_environment, withhold)
        self._stop_signal = signal_number(spec.stop.signal)
        change = spec.on_change
        told_by = signal_number(change.signal) if isinstance(change, OnChangeSignal) else None
        self._change_signal = told_by or signal.SIGHUP
        self._backoff = Backoff(first=1.0, ceiling=60.0)
        self._account = Account()
        self._child: Spawned | None = None
        self._finished: asyncio.Future[int] | None = None
        self._news = asyncio.Event()
        self._stop_reason: str | None = None
        self._applied = self._newest = Provision({})
        self._changed_at: float | None = None
        self._waiting: list[asyncio.Future[bool]] = []

    async def run(self, first: Provision) -> int:
        """Start the child and keep it; return its exit code once it has ended for good.

        128+n for a signal. Cancelled, it stops the child in the same order as `stop`, and kills it
        when cancelled again. Raises DeliveryError if the child can't be started.
        """
        if self._changed_at is None:
            self._newest = first
        self._finished = asyncio.get_running_loop().create_future()
        try:
            self._account = await asyncio.to_thread(account_of, self._spec.user, self._spec.group)
            code = await self._lives()
            self._finished.set_result(code)
            return code
        finally:
            self._finished.cancel()
            self._settle(False)

    def provide(self, new: Provision) -> asyncio.Future[bool]:
        """The child is to have this instead; `on_change` says how, after `debounce`.

        The result is True once it has been started with `new` or a later one, or was signalled;
        False if it ended for good before. With `on_change: none` that is its next start, which
        may never come: don't wait for it.
        """
        self._newest = new
        if self._changed_at is None:
            self._changed_at = self._clock.now()
        self._waiting.append(asyncio.get_running_loop().create_future())
        self._news.set()
        return self._waiting[-1]

    @property
    def is_running(self) -> bool:
        """`run` is under way: there is a child, or will be one again."""
        return self._finished is not None and not self._finished.done()

    def forward(self, number: int) -> None:
        """Pass on a signal that the agent got. DeliveryError if that is not permitted."""
        if self._child is not None:
            self._child.signal(number)

    async def stop(self, reason: str) -> int:
        """Stop it for good: `stop.signal`, and after `stop.timeout` SIGKILL to its whole group.

        Returns the exit code, 0 if it was not running. `run` returns it as well.
        """
        self._stop_reason = reason
        self._news.set()
        if self._finished is None:
            return 0
        await asyncio.wait([self._finished])
        return 0 if self._finished.cancelled() else self._finished.result()

    def kill(self, reason: str) -> None:
        """Stop it at once and for good; for those who were asked twice."""
        self._stop_reason = reason
        self._news.set()
        if self._child is not None:
            self._child.signal_group(signal.SIGKILL)

    # --- its lives ----------------------------------------------------------------------------

    async def _lives(self) -> int:
        code = 0
        while self._stop_reason is None:
            started_at = self._clock.now()
            end, child = await self._one_life()
            code = await child.wait()
            if self._clock.now() - started_at >= HEALTHY_AFTER:
                self._backoff.reset()
            goes_on = self._stop_reason is None and self._goes_on(end, code)
            delay = self._backoff.delay() if goes_on and end is _End.ITS_OWN else None
            self._emit(
                ProcessEnded(command=self._name, pid=child.pid, code=code, retry_after=delay)
            )
            if not goes_on:
                break
            await self._pause(delay or 0.0)
        return code

    def _goes_on(self, end: _End, code: int) -> bool:
        if end is not _End.ITS_OWN:
            return end is _End.CHANGED
        policy = self._spec.on_exit
        return policy == "restart" or (policy == "restart_on_failure" and code != 0)

    async def _one_life(self) -> tuple[_End, Spawned]:
        new = self._newest
        with contextlib.ExitStack() as held:
            guard = held.enter_context(Guard())
            async with self._spawned(new, held, guard) as child:
                guard.arm(child.pid, self._stop_signal)
                self._begun(child, new)
                end = await self._in_foreground(child)
        return end, child

    async def _in_foreground(self, child: Spawned) -> _End:
        with foreground(child) as is_on_terminal:
            try:
                end = await self._live(child)
            except asyncio.CancelledError:
                await self._end(child, "the agent ends")
                raise
        is_typed = is_on_terminal and child.code == _CTRL_C
        return _End.BY_TERMINAL if is_typed and end is _End.ITS_OWN else end

    async def _live(self, child: Spawned) -> _End:
        """Do what the news asks for, until the child has ended."""
        while child.code is None:
            if self._stop_reason is not None:
                await self._end(child, self._stop_reason)
                return _End.STOPPED
            if self._is_change_due() and self._react(child) is Reaction.RESTART:
                await self._end(child, "what it was given has changed")
                return _End.CHANGED
            await self._hear(self._due_at())
        return _End.ITS_OWN

    async def _hear(self, deadline: float | None) -> bool:
        """Wait for news; False at the deadline."""
        has_news = await self._clock.wait(self._news, deadline)
        self._news.clear()
        return has_news

    async def _pause(self, seconds: float) -> None:
        """Wait before the next life, unless it is not to have one."""
        deadline = self._clock.now() + seconds
        while self._stop_reason is None and await self._hear(deadline):
            pass

    # --- a start, a change, an end ------------------------------------------------------------

    def _spawned(self, new: Provision, held: contextlib.ExitStack, guard: Guard) -> Spawned:
        """The child, just started; `held` keeps what has to live as long as it does."""
        account = self._account
        files = held.enter_context(memory_files(new.memory_files, account.uid))
        paths = {name: path_of(descriptor) for name, descriptor in files.items()}
        return spawn(
            self._command,
            environment={**self._base, **account.environment, **new.environment, **paths},
            cwd=self._spec.working_directory,
            pass_fds=(*files.values(), guard.inherited),
            uid=account.uid,
            gid=account.gid,
            groups=account.groups,
        )

    def _begun(self, child: Spawned, new: Provision) -> None:
        child.kill_group_at_end()
        child.on_end(self._news.set)
        self._child = child
        self._take_as_applied(new)
        self._emit(ProcessStarted(command=self._name, pid=child.pid))

    def _react(self, child: Spawned) -> Reaction:
        """Do for a change what can be done without ending the child."""
        what = reaction(self._spec, self._applied, self._newest)
        self._changed_at = None
        if what is Reaction.SIGNAL:
            child.signal(self._change_signal)
            name = signal.Signals(self._change_signal).name
            self._emit(ProcessSignalled(command=self._name, pid=child.pid, signal=name))
        if what in (Reaction.NOTHING, Reaction.SIGNAL):
            self._take_as_applied(self._newest)
        return what

    def _due_at(self) -> float | None:
        return None if self._changed_at is None else self._changed_at + self._spec.debounce

    def _is_change_due(self) -> bool:
        due_at = self._due_at()
        return due_at is not None and self._clock.now() >= due_at

    def _take_as_applied(self, provision: Provision) -> None:
        self._applied, self._changed_at = provision, None
        self._settle(True)

    def _settle(self, is_applied: bool) -> None:
        """Answer all who wait for a provision."""
        for each in self._waiting:
            if not each.done():
                each.set_result(is_applied)
        self._waiting.clear()

    async def _end(self, child: Spawned, reason: str) -> None:
        """Ask the child to end, and see to it."""
        self._emit(ProcessStopping(command=self._name, pid=child.pid, reason=reason))
        child.signal(self._stop_signal)
        child.signal(signal.SIGCONT)  # a stopped process would not hear
        deadline = self._clock.now() + self._spec.stop.timeout
        while child.code is None and await self._hear(deadline):
            pass
        child.signal_group(signal.SIGKILL)
        await child.wait()
