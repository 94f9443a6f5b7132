"""A long-running command from its first breath to an orderly end.

SIGTERM and SIGINT end it in reverse order within the grace period; a second one ends it at once.
SIGHUP, or a changed configuration file, moves it to the new configuration; a bad one changes
nothing and is said. With a child (`leasehold run`) the agent lives as long as the child does.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from agent import __version__
from agent.app.audience import Audience
from agent.app.composition import Composition
from agent.app.hardened import as_json, told_of
from agent.app.parent import Parent
from agent.app.run_audit import run_audit
from agent.app.run_cache import run_cache
from agent.app.run_doors import RunDoors
from agent.app.tasks import forever
from agent.config.load import Loaded
from agent.core.clock import Clock
from agent.core.errors import EXIT_DONE, AgentError, ConfigurationError
from agent.core.events import (
    Advice,
    Ready,
    Reloading,
    ReloadRefused,
    Started,
    Stopping,
    duration,
)
from agent.file_watch import FileWatch
from agent.hardening import Hardened
from agent.ledger import Ledger

Load = Callable[[], Loaded]

FORWARDED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGWINCH, signal.SIGCONT)
"""What `run` passes on to the child as it is."""


FIRST_WORK_SECONDS = 5.0

A_FILE_CHANGED = "a file of it changed"
NO_COMMAND = "process.command: nothing to run; name it there, or after -- on the command line"
NO_CACHE = "--keep-leases: there is no cache: section to keep them in"
OTHER_CACHE = "cache: can't be changed while the agent runs; start it again (--keep-leases)"
OTHER_AUDIT = "audit: can't be changed while the agent runs; start it again"


class Service:
    """One run of `agent` (without a command) or `run` (with one)."""

    def __init__(
        self,
        load: Load,
        hardening: Hardened,
        *,
        clock: Clock,
        command: Sequence[str] | None = None,
        is_parent: bool = False,
        keeps_leases: bool = False,
    ) -> None:
        """`load` reads the configuration anew; `command` wins over the configuration's own.

        `hardening`: how this process is, which a new configuration has to do with.

        `keeps_leases`: at the end nothing is given back; the next run goes on with all of it.
        """
        self._load, self._hardening, self._clock = load, hardening, clock
        self._command, self._is_parent = command, is_parent
        self._keeps_leases = keeps_leases
        self._ended = asyncio.Event()
        self._reload = asyncio.Event()
        self._reload_reason = A_FILE_CHANGED
        self._reason, self._signal = "an error", 0
        self._moving = asyncio.Lock()
        self._is_winding_up = False

    async def run(self) -> int:
        """The exit code. Raises ConfigurationError for a configuration that can't be started."""
        self._started_at = self._clock.now()
        loaded = await asyncio.to_thread(self._loaded)
        ledger = Ledger(self._clock)
        self._audience = Audience(
            loaded.configuration, ledger, self._clock, has_process=self._is_parent
        )
        self._files = FileWatch(self._clock, self._audience)
        self._cache = run_cache(loaded.configuration.cache, self._clock, self._audience)
        self._audit = run_audit(
            loaded.configuration.audit, self._clock, self._audience, self._audience.redact
        )
        await self._cache.open()
        await self._audit.open()
        self._audience.also = (self._cache, self._audit)
        async with asyncio.TaskGroup() as group:
            self._composition = Composition(
                group,
                ledger,
                clock=self._clock,
                emit=self._audience,
                changes=self._files,
                environment=os.environ,
                seal=self._cache.seal,
            )
            self._doors = RunDoors(
                group,
                self._composition,
                self._audience,
                clock=self._clock,
                changes=self._files,
                record=self._audit.record,
            )
            self._parent = Parent(
                self._composition,
                self._command,
                withhold=loaded.credential_variables,
                clock=self._clock,
                emit=self._audience,
            )
            self._audience.on_refresh = self._composition.refresh
            self._audience.on_drill = self._composition.drill
            with self._signals():
                tasks: list[asyncio.Task[Any]] = []
                try:
                    code = await self._live(group, tasks, loaded)
                finally:
                    await self._wind_up()
                    for task in reversed(tasks):
                        task.cancel()
        return code

    async def _live(
        self,
        group: asyncio.TaskGroup,
        tasks: list[asyncio.Task[Any]],
        loaded: Loaded,
    ) -> int:
        def start(run: Callable[[], Awaitable[None]], name: str) -> None:
            tasks.append(group.create_task(forever(run, name), name=name))

        configuration = loaded.configuration
        self._audience(
            Started(
                version=__version__,
                secrets=len(configuration.secrets),
                bundles=len(configuration.bundles),
            )
        )
        self._audience.status.hardening = as_json(self._hardening)
        self._audience(told_of(self._hardening))
        for text in [*self._hardening.warnings, *loaded.warnings]:
            self._audience(Advice(subject="leasehold", text=text))
        book = await self._cache.take_up()
        start(self._audience.run, "telemetry")
        self._cache.keep(self._composition.book)
        start(self._cache.run, "sealed cache")
        start(self._audit.run, "audit")
        self._doors.take_up(configuration, book)
        await self._composition.apply(configuration, book)
        for problem in await self._doors.apply(configuration.listeners):
            raise problem
        start(self._watch_files, "file watch")
        start(lambda: self._follow_configuration(loaded.files), "configuration")
        tasks.append(group.create_task(self._say_ready(), name="readiness"))
        if not self._is_parent:
            await self._clock.wait(self._ended)
            return EXIT_DONE
        supervising = group.create_task(self._parent.supervise(self._ended), name="process")
        tasks += [supervising, group.create_task(self._end_child(supervising), name="process: end")]
        await asyncio.wait([supervising])
        if supervising.cancelled():
            return 128 + self._signal
        code = supervising.result()
        if not self._ended.is_set():
            self._reason = f"the child has ended with {code}"
        return code

    def _loaded(self) -> Loaded:
        loaded = self._load()
        process = loaded.configuration.process
        if self._is_parent and not self._command and not (process and process.command):
            raise ConfigurationError([NO_COMMAND])
        if self._keeps_leases and loaded.configuration.cache is None:
            raise ConfigurationError([NO_CACHE])
        return loaded

    async def _watch_files(self) -> None:
        """Once the first work is done, watch files, and look for garbage again.

        What has changed until then is seen all the same.
        """
        await self._composition.published(deadline=self._clock.now() + FIRST_WORK_SECONDS)
        gc.freeze()
        gc.enable()
        await self._files.run()

    async def _say_ready(self) -> None:
        await self._composition.published()
        if self._is_parent:
            await self._clock.wait(self._audience.process_started)
        self._audience(Ready(seconds=self._clock.now() - self._started_at))

    # --- a new configuration ------------------------------------------------------------------

    async def _follow_configuration(self, files: tuple[Path, ...]) -> None:
        while True:
            is_asked = self._reload.is_set()
            with self._files.watch(*files) as self._reload:
                if is_asked:  # meanwhile, by a signal or a change
                    self._reload.set()
                watched = files
                while files == watched:
                    await self._clock.wait(self._reload)
                    self._reload.clear()
                    async with self._moving:
                        if not self._is_winding_up:
                            files = await self._move_on(files)

    async def _move_on(self, files: tuple[Path, ...]) -> tuple[Path, ...]:
        """Load the configuration and put it to work, if it is good; the files it came from."""
        self._audience(Reloading(reason=self._reload_reason))
        self._reload_reason = A_FILE_CHANGED
        try:
            loaded = await asyncio.to_thread(self._loaded)
            process = self._composition.configuration.process
            if loaded.configuration.cache != self._composition.configuration.cache:
                raise ConfigurationError([OTHER_CACHE])
            if loaded.configuration.audit != self._composition.configuration.audit:
                raise ConfigurationError([OTHER_AUDIT])
            if problems := self._hardening.problems(loaded.configuration):
                raise ConfigurationError(problems)
            told = await self._composition.apply(loaded.configuration)
        except ConfigurationError as error:
            self._audience(ReloadRefused(problems=error.problems))
            return files
        except AgentError as error:
            self._audience(ReloadRefused(problems=[str(error)]))
            return files
        self._parent.withhold = loaded.credential_variables
        self._audience.reconfigured(loaded.configuration)
        for problem in await self._doors.apply(loaded.configuration.listeners):
            self._audience(Advice(subject="listeners", text=str(problem)))
        self._audience(told)
        if loaded.configuration.process != process:
            await self._parent.change()
        return loaded.files

    async def _end_child(self, supervising: asyncio.Task[int]) -> None:
        """Once we are asked to end: stop the child, or wait no longer for its secrets."""
        await self._clock.wait(self._ended)
        if not await self._parent.stop(self._reason):
            supervising.cancel()

    # --- signals and the end ------------------------------------------------------------------

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: lambda: self._asked_to_end(signal.SIGTERM),
            signal.SIGINT: lambda: self._asked_to_end(signal.SIGINT),
            signal.SIGHUP: self._asked_to_reload,
        }
        if self._is_parent:
            handlers |= {each: partial(self._parent.forward, each) for each in FORWARDED}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _asked_to_reload(self) -> None:
        self._audit.reopen()
        self._reload_reason = "SIGHUP received"
        self._reload.set()

    def _asked_to_end(self, number: signal.Signals) -> None:
        """The first time in order; the second time at once."""
        if self._ended.is_set():
            self._parent.kill("asked to end twice")
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._reason, self._signal = f"{number.name} received", number
        self._ended.set()

    async def _wind_up(self) -> None:
        """Consumers first, then leases, then tokens, within the grace period.

        What is not given back is kept for the next run, if there is a cache.
        """
        kept = "; leases are kept for the next run" if self._keeps_leases else ""
        self._audience(Stopping(reason=self._reason + kept))
        grace, is_final = self._composition.configuration.shutdown_timeout, not self._keeps_leases
        try:
            async with asyncio.timeout(grace), self._moving:
                self._is_winding_up = True
                await self._doors.close()
                await self._composition.wind_up(is_final=is_final, removes_files=is_final)
        except TimeoutError:
            await self._composition.abandon(f"not within the {duration(grace)} of shutdown_timeout")
        finally:
            self._doors.abandon()
            await self._cache.close()
            await self._audit.close()
