"""From the ledger to the child of `leasehold run`: what it is given, and what it depends on.

The child starts once all of its secrets have a value and every bundle is published. It holds the
leases of what it was started with until it has taken over the new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from agent.config.model import Process
from agent.core.clock import Clock
from agent.core.errors import RenderError
from agent.core.events import BundleFailed, Emit
from agent.delivery.content import as_held
from agent.delivery.process.child import ChildProcess
from agent.delivery.process.provision import Provision
from agent.delivery.revisions import Held, union
from agent.ledger import Ledger
from agent.rendering.templates import Template, compile_template
from agent.rendering.values import Held as Value

CONSUMER = "process"


class Generations(Protocol):
    """The bundles whose app is the child: those that notify nobody else."""

    def current(self) -> dict[str, int]:
        """Their generations, by bundle."""

    def revisions(self) -> Held:
        """The revisions of secrets that these generations are made of."""

    async def published(self) -> None:
        """Return once every bundle, of any kind, is published."""


class Supervision:
    """Runs the child and keeps it provided."""

    def __init__(
        self,
        spec: Process,
        command: Sequence[str],
        ledger: Ledger,
        generations: Generations,
        *,
        clock: Clock,
        emit: Emit,
        environment: Mapping[str, str],
        withhold: Collection[str],
    ) -> None:
        """RenderError for a template that can't be compiled, DeliveryError for a wrong signal."""
        self._ledger, self._generations = ledger, generations
        self._clock, self._emit, self._environment = clock, emit, environment
        self._variables = _compiled("environment", spec.environment)
        self._memory_files = _compiled("memory_files", spec.memory_files)
        templates = [*self._variables.values(), *self._memory_files.values()]
        self._secrets = frozenset[str]().union(*(each.secrets for each in templates))
        self.child = ChildProcess(
            spec,
            command,
            clock=clock,
            emit=emit,
            base_environment=environment,
            withhold=withhold,
        )
        self._wake = asyncio.Event()
        self._waiting: asyncio.Task[Provision] | None = None
        self._applied: Held = {}
        self._offered: tuple[asyncio.Future[bool], Held] | None = None

    def look_again(self) -> None:
        """A bundle has a new generation."""
        self._wake.set()

    async def run(self) -> int:
        """The child's exit code, once it has ended for good; 0 if it was stopped before its start.

        DeliveryError if it can't start.
        """
        with self._ledger.subscribe(self._secrets, self._wake):
            try:
                async with asyncio.TaskGroup() as group:
                    self._waiting = group.create_task(self._first(), name="process: waiting")
                    await asyncio.wait([self._waiting])
                    if self._waiting.cancelled():
                        return 0
                    following = group.create_task(self._follow(), name="process: following")
                    code = await self.child.run(self._waiting.result())
                    following.cancel()
            finally:
                self._ledger.release(CONSUMER)
        return code

    async def stop(self, reason: str) -> None:
        """Stop the child for good, or wait no longer for what it is started with."""
        if self._waiting is not None:
            self._waiting.cancel()
        await self.child.stop(reason)

    async def _first(self) -> Provision:
        await self._generations.published()
        while (first := self._provision()) is None:
            await self._clock.wait(self._wake)
            self._wake.clear()
        self._applied = self._revisions()
        self._hold(self._applied)
        return first

    async def _follow(self) -> None:
        while True:
            await self._clock.wait(self._wake)
            self._wake.clear()
            self._note_what_was_applied()
            provision, revisions = self._provision(), self._revisions()
            if provision is None or revisions == self._applied:
                continue
            if self._offered is None or self._offered[1] != revisions:
                self._hold(self._applied, revisions)
                taken = self.child.provide(provision)
                taken.add_done_callback(lambda _: self._wake.set())
                self._offered = (taken, revisions)

    def _note_what_was_applied(self) -> None:
        if self._offered is None or not self._offered[0].done():
            return
        taken, revisions = self._offered
        self._offered = None
        if not taken.cancelled() and taken.result():
            self._applied = revisions
            self._hold(revisions)

    def _provision(self) -> Provision | None:
        """What the child is to have now; None while a secret has no value or can't be rendered."""
        entries = self._ledger.snapshot(self._secrets)
        held = {
            name: as_held(entry, self._clock) for name, entry in entries.items() if entry.is_usable
        }
        if len(held) < len(entries):
            return None
        try:
            return Provision(
                {name: self._variable(name, held) for name in self._variables},
                {n: each.render(held, self._environment) for n, each in self._memory_files.items()},
                self._generations.current(),
            )
        except RenderError as error:
            self._emit(BundleFailed(bundle="process", step="render", reason=str(error)))
            return None

    def _variable(self, name: str, held: Mapping[str, Value]) -> str:
        template = self._variables[name]
        value = template.render(held, self._environment)
        if b"\0" in value:
            raise RenderError(template.place, "a variable can't hold a NUL; use memory_files")
        return value.decode("utf-8", "surrogateescape")

    def _revisions(self) -> Held:
        own = {
            name: frozenset({entry.revision})
            for name, entry in self._ledger.snapshot(self._secrets).items()
        }
        return union(own, self._generations.revisions())

    def _hold(self, *revisions: Held) -> None:
        self._ledger.hold(CONSUMER, union(*revisions))


def _compiled(section: str, templates: Mapping[str, str]) -> dict[str, Template]:
    return {
        name: compile_template(source, f"process.{section}.{name}")
        for name, source in templates.items()
    }
