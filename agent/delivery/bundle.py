"""A bundle: render ▶ validate ▶ publish ▶ notify ▶ confirm ▶ retire, as one transaction.

Error policy: whatever fails stays in here. A bad template, a failed validation or a full disk reads
no secret again and withdraws no generation; it is said, backed off from and tried again, at once
when something changes. Until a new generation is confirmed, the bundle holds the old values' leases
as well as the new ones'. What is done when is in `transaction.py`, how it is done in `steps.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from agent.config.model import Bundle as BundleSpec
from agent.config.model import NotifySignal
from agent.core.book import KeptBundle
from agent.core.clock import Clock
from agent.core.errors import AgentError, DeliveryError, RenderError
from agent.core.events import BundleDrilled, Emit
from agent.core.file_changes import FileChanges
from agent.delivery.content import Content, as_held, load_content, template_files
from agent.delivery.drill import DrillReport, Wish
from agent.delivery.drive import Drive, Work
from agent.delivery.generations import DATA, RenderedFile
from agent.delivery.revisions import Held, Revisions
from agent.delivery.steps import Steps
from agent.delivery.whole import whole
from agent.ledger import Ledger, Subscription


class Bundle:
    """One bundle's coroutine.

    `published` is set once its files are there, `completed` once its app is known to use them, or
    needs not be told. `secrets` are those that its templates need, as far as they have been read.
    """

    def __init__(
        self,
        name: str,
        spec: BundleSpec,
        ledger: Ledger,
        *,
        clock: Clock,
        emit: Emit,
        changes: FileChanges,
        environment: Mapping[str, str],
        on_generation: Callable[[], None] = lambda: None,
    ) -> None:
        self.name, self.spec = name, spec
        self.published = asyncio.Event()
        self.completed = asyncio.Event()
        self.secrets: frozenset[str] = frozenset()
        self._on_generation = on_generation
        self._ledger, self._clock, self._emit = ledger, clock, emit
        self._changes, self._environment = changes, environment
        self._steps = Steps(name, spec, clock, emit)
        self._drive = Drive(
            name,
            self._steps,
            ledger,
            clock=clock,
            emit=emit,
            on_generation=self._generation_changed,
            notify_first=spec.notify_first,
            room=longest_attempt(spec),
        )
        self._wake = asyncio.Event()
        self._wish: Wish | None = None

    @property
    def generation(self) -> int:
        """The one that its app uses or is about to; 0 before the first."""
        return self._drive.generation

    @property
    def revisions(self) -> Revisions:
        """The secrets' that this generation is made of."""
        return self._drive.revisions

    @property
    def proven(self) -> dict[str, int]:
        """The revisions of secrets that its app is known to work with."""
        return dict(self._drive.transaction.proven)

    def kept(self) -> KeptBundle:
        """What the next run needs to know of it."""
        return KeptBundle(self._drive.proven_by, self.proven)

    def confirm(self, generation: int, error: str | None) -> bool | None:
        """The app's own word on a generation; False if it is not the one that is there.

        None: the app is not asked for it, by this bundle's `confirm`.
        """
        taken = self._steps.say(generation, error)
        return taken if taken is None else taken or generation == self.generation

    def restore(self, bundle: KeptBundle, kept: Held = {}) -> None:  # noqa: B006
        """Before `run`: what the run before has kept of it.

        `kept`: all that is alive of secrets; the app may be using any of it, until it has proven
        something in this run.
        """
        self._drive.start_from(bundle.revisions, bundle.generation, kept)

    async def run(self) -> None:
        try:
            with self._steps.claim, self._changes.watch(*template_files(self.spec)) as self._wake:
                while True:
                    with self._ledger.subscribe(self.secrets, self._wake) as subscription:
                        self.secrets = await self._follow(subscription)
        finally:
            self._answer(DeliveryError(self.name, "the bundle was stopped meanwhile"))

    async def remove(self) -> None:
        """Take the files away: `remove_on_exit`."""
        await self._steps.remove()

    async def put_back(self) -> None:
        """After `run` was cancelled for good: leave no files that the app has not confirmed.

        Those before are seen again, unless they are known not to work; nobody is told.
        """
        with suppress(AgentError):  # what is there now is whole as well
            await self._drive.put_back()

    def take_over(self, former: Bundle) -> None:
        """Depend on what this bundle's former shape has put into the files, until they change."""
        self._drive.take_over(former._drive)

    def leave(self) -> None:
        """The bundle is no more: it depends on nothing."""
        self._drive.leave()

    async def drill(self, fail: str | None = None) -> DrillReport:
        """Rehearse a rotation with the values that there are; `fail` may be `confirm`.

        DeliveryError if that can't be done now.
        """
        if self._wish is not None:
            raise DeliveryError(self.name, "a drill is under way")
        self._refuse_drill()
        wish = self._wish = Wish(fail)
        self._wake.set()
        return await wish.report()

    # --- from one change to the next ----------------------------------------------------------

    async def _follow(self, subscription: Subscription) -> frozenset[str]:
        """Keep the files as the secrets are; return when the templates need other secrets."""
        while True:
            self._wake.clear()
            try:
                content = await whole(load_content, self.name, self.spec)
                if content.secrets != subscription.names:
                    return content.secrets
                if await self._all_usable(subscription):
                    await self._update(content)
            except AgentError as error:
                await self._drive.fail(error)
            await self._rehearse()
            if await self._wait():
                await self._clock.sleep(self.spec.debounce)

    async def _wait(self) -> bool:
        """Wait for a change, also of the files by somebody else; False once it is time again."""
        directory, retry_at = self.spec.directory, self._drive.next_at()
        with self._changes.watch(directory, directory / DATA, event=self._wake):
            if retry_at is None and not await self._steps.stands(self.generation):
                return True
            return await self._clock.wait(self._wake, retry_at)

    async def _all_usable(self, subscription: Subscription) -> bool:
        """Wait until every secret has a value; False if something else has changed first."""
        subscription.take()
        missing = {name for name in subscription.names if not self._ledger.entry(name).is_usable}
        while missing:
            await self._clock.wait(self._wake)
            self._wake.clear()
            changed = subscription.take()
            if not changed:
                self._wake.set()
                return False
            missing -= {name for name in changed if self._ledger.entry(name).is_usable}
        return True

    async def _update(self, content: Content) -> None:
        """From the secrets as they are now to an app that is proven to use them."""

        def wanted() -> Revisions:
            entries = self._ledger.snapshot(content.secrets)
            return {name: entry.revision for name, entry in entries.items()}

        def render() -> Mapping[str, RenderedFile]:
            entries = self._ledger.snapshot(content.secrets)
            if expired := sorted(name for name, each in entries.items() if not each.is_usable):
                raise RenderError(self.name, f"no value now of {', '.join(expired)}")
            held = {name: as_held(entry, self._clock) for name, entry in entries.items()}
            return content.render(held, self._environment)

        await self._drive.update(wanted, Work(content.secrets, render))
        if self._drive.trouble is None:
            self.completed.set()

    def _generation_changed(self) -> None:
        self.published.set()
        self._on_generation()

    # --- drills -------------------------------------------------------------------------------

    def _refuse_drill(self) -> None:
        if not self.generation:
            raise DeliveryError(self.name, "nothing was published yet")
        if self._drive.trouble is not None:
            raise DeliveryError(self.name, "its last rotation has failed; see its status")

    async def _rehearse(self) -> None:
        """The drill that was asked for, if any, between two transactions."""
        if self._wish is None:
            return
        began_at, before = self._clock.now(), self.generation
        try:
            self._refuse_drill()
            await self._drive.rehearse(self._wish)
        except AgentError as error:
            self._answer(error)
            return
        report = DrillReport(self.name, self._drive.newest, self._outcome(before), self._wish.steps)
        took = self._clock.now() - began_at
        self._emit(
            BundleDrilled(
                bundle=self.name, generation=report.generation, outcome=report.outcome, seconds=took
            )
        )
        self._answer(report)

    def _outcome(self, before: int) -> str:
        if self._drive.newest == before or self._drive.trouble is not None:
            return "failed"
        return "survived" if self._drive.newest == self.generation else "rolled_back"

    def _answer(self, answer: DrillReport | AgentError) -> None:
        wish, self._wish = self._wish, None
        if wish is not None:
            wish.answer(answer)


def longest_attempt(spec: BundleSpec) -> float:
    """Seconds that an announcement and its proof may take."""
    notify = sum(0.0 if isinstance(each, NotifySignal) else each.timeout for each in spec.notify)
    return notify + (0.0 if spec.confirm is None else spec.confirm.timeout)
