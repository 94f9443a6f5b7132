"""A bundle: render ▶ validate ▶ publish ▶ notify ▶ confirm ▶ retire, as one transaction.

Error policy: whatever fails stays in here. A bad template, a failed validation or a full disk reads
no secret again and withdraws no generation; it is said, backed off from and tried again, at once
when something changes. Until a new generation is confirmed, the bundle holds the old values' leases
as well as the new ones'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from agent.config.model import Bundle as BundleSpec
from agent.core.backoff import Backoff
from agent.core.clock import Clock
from agent.core.errors import AgentError, ConfirmError, DeliveryError
from agent.core.events import (
    Advice,
    BundleConfirmed,
    BundleCurrent,
    BundleFailed,
    BundlePublished,
    BundleRolledBack,
    Emit,
)
from agent.core.file_changes import FileChanges
from agent.delivery.announcement import Announcement
from agent.delivery.announcer import Announcer
from agent.delivery.confirm import confirmation
from agent.delivery.content import Content, as_held, load_content, template_files
from agent.delivery.generations import DATA, Claim, Generations, RenderedFile
from agent.delivery.generations.memory import swap_advice
from agent.delivery.generations.ownership import gid_of, uid_of
from agent.delivery.validate import validate
from agent.ledger import Ledger, Subscription

T = TypeVar("T")


class Bundle:
    """One bundle's coroutine.

    `published` is set once its files are there, `completed` once its app is known to use them, or
    needs not be told. `generation` is the one that its app uses or is about to, and `revisions` are
    the secrets' that it was made of.
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
        self.generation = 0
        self.revisions: dict[str, int] = {}
        self._proven: dict[str, int] = {}
        self._on_generation = on_generation
        self._ledger, self._clock, self._emit = ledger, clock, emit
        self._changes, self._environment = changes, environment
        self._consumer = f"bundle {name}"
        self._backoff = Backoff(first=0.5, ceiling=60.0)
        self._announcer = Announcer(spec.notify, clock, emit)
        self._confirmation = None if spec.confirm is None else confirmation(spec.confirm, clock)
        self._claim = Claim(name, spec.directory)
        self._generations: Generations | None = None

    async def run(self) -> None:
        secrets: frozenset[str] = frozenset()
        with self._claim, self._changes.watch(*template_files(self.spec)) as wake:
            while True:
                with self._ledger.subscribe(secrets, wake) as subscription:
                    secrets = await self._follow(subscription, wake)

    async def remove(self) -> None:
        """Take the files away: `remove_on_exit`."""
        if self._generations is not None:
            await _whole(self._generations.remove)

    def take_over(self, former: Bundle) -> None:
        """Depend on what this bundle's former shape has put into the files, until they change."""
        self.generation, self.revisions = former.generation, former.revisions
        self._proven = former._proven

    def leave(self) -> None:
        """The bundle is no more: it depends on nothing."""
        self._ledger.release(self._consumer)

    async def _prepared(self) -> Generations:
        """The bundle's directory, made or taken over, by an object that remembers its numbers."""
        if self._generations is None:
            self._generations = await _whole(self._open)
            if (advice := await _whole(swap_advice, self.spec.directory)) is not None:
                self._emit(Advice(subject=self.name, text=advice))
        return self._generations

    def _open(self) -> Generations:
        spec = self.spec
        generations = Generations(
            self.name,
            spec.directory,
            directory_mode=spec.directory_mode,
            uid=uid_of(spec.owner),
            gid=gid_of(spec.group),
            allow_disk=spec.allow_disk,
        )
        self._claim.hold()  # before anything of another agent's is taken for a killed run's
        generations.prepare()
        return generations

    def _changes_of(self, generations: Generations, files: Mapping[str, RenderedFile]) -> list[str]:
        """What is to be published; the directory is there from now on, and claimed."""
        changed = generations.changes(files)
        self._claim.hold()
        return changed

    async def _follow(self, subscription: Subscription, wake: asyncio.Event) -> frozenset[str]:
        """Keep the files as the secrets are; return when the templates need other secrets."""
        while True:
            wake.clear()
            retry_at = None
            try:
                content = await _whole(load_content, self.name, self.spec)
                if content.secrets != subscription.names:
                    return content.secrets
                if await self._all_usable(subscription, wake):
                    await self._update(content)
                    self._backoff.reset()
                    retry_at = self._announcer.next_look_at()
            except AgentError as error:
                retry_at = self._clock.now() + self._failed(error)
            if await self._wait(wake, retry_at):
                await self._clock.sleep(self.spec.debounce)

    async def _wait(self, wake: asyncio.Event, retry_at: float | None) -> bool:
        """Wait for a change, also of the files by somebody else; False once it is `retry_at`."""
        directory = self.spec.directory
        with self._changes.watch(directory, directory / DATA, event=wake):
            if retry_at is None and not await self._stands():
                return True
            return await self._clock.wait(wake, retry_at)

    async def _stands(self) -> bool:
        """Nobody has touched the files while they were handed over, and not been watched."""
        if self._generations is None:
            return True
        try:
            return await _whole(self._generations.stands, self.generation, self.spec.files)
        except AgentError:  # the next update will say what it is
            return False

    async def _all_usable(self, subscription: Subscription, wake: asyncio.Event) -> bool:
        """Wait until every secret has a value; False if something else has changed first."""
        subscription.take()
        missing = {name for name in subscription.names if not self._ledger.entry(name).is_usable}
        while missing:
            await self._clock.wait(wake)
            wake.clear()
            changed = subscription.take()
            if not changed:
                wake.set()
                return False
            missing -= {name for name in changed if self._ledger.entry(name).is_usable}
        return True

    def _failed(self, error: AgentError) -> float:
        step = error.step if isinstance(error, DeliveryError) else "render"
        pause = self._backoff.delay()
        self._emit(BundleFailed(bundle=self.name, step=step, reason=str(error), retry_after=pause))
        return pause

    # --- the transaction ----------------------------------------------------------------------

    async def _update(self, content: Content) -> None:
        """From the secrets as they are now to an app that is proven to use them."""
        entries = self._ledger.snapshot(content.secrets)
        wanted = {name: entry.revision for name, entry in entries.items()}
        self._hold(self._proven, wanted)
        files = content.render(
            {name: as_held(entry, self._clock) for name, entry in entries.items()},
            self._environment,
        )
        generations = await self._prepared()
        changed = await _whole(self._changes_of, generations, files)
        if changed:
            await self._publish(generations, files, changed, sorted(content.secrets))
        elif (number := await _whole(generations.current)) is not None:
            await _whole(generations.mend)
            self._emit(BundleCurrent(bundle=self.name, generation=number))
        if not self.spec.notify:  # its app is the child, if any, and whoever runs that tells it
            self._use(await _whole(generations.current), wanted)
        self.published.set()
        await self._announce(generations)
        self._proven = wanted
        self._use(await _whole(generations.current), wanted)
        self._hold(wanted)
        self.completed.set()

    def _use(self, generation: int | None, revisions: dict[str, int]) -> None:
        self.generation, self.revisions = generation or 0, revisions
        self._on_generation()

    def _hold(self, *revisions: Mapping[str, int]) -> None:
        names = {name for each in revisions for name in each}
        self._ledger.hold(
            self._consumer,
            {name: {each[name] for each in revisions if name in each} for name in names},
        )

    async def _publish(
        self,
        generations: Generations,
        files: Mapping[str, RenderedFile],
        changed: list[str],
        secrets: list[str],
    ) -> None:
        candidate = await _whole(generations.write, files)
        try:
            announcement, wall = self._announcement(candidate.number), self._clock.wall()
            await validate(self.spec, files, candidate.directory, announcement, wall)
            is_known = self.published.is_set() or self.generation
            is_first = not is_known and await _whole(generations.current) is None
            if is_first and not self.spec.notify_first:
                await _whole(generations.mark_announced, candidate.number)
            await self._prepare_confirmation(candidate.number)
            await _whole(generations.publish, candidate)
        except (AgentError, asyncio.CancelledError):
            await _whole(generations.discard, candidate)
            raise
        self._emit(
            BundlePublished(
                bundle=self.name,
                generation=candidate.number,
                secrets=secrets,
                changed_files=changed,
            )
        )

    async def _announce(self, generations: Generations) -> None:
        """Tell the app of the current generation, and see that it uses it, unless it knows."""
        number = await _whole(generations.current)
        is_known = number == generations.announced() and not self._announcer.has_absent
        if number is None or is_known:
            return
        await self._prepare_confirmation(number)
        is_anybody_there = await self._announcer.tell(self._announcement(number))
        if is_anybody_there and self._confirmation is not None:
            started_at = self._clock.now()
            try:
                await self._confirmation.confirm(self._announcement(number))
            except ConfirmError as error:
                await self._roll_back(generations, number, error)
                raise
            took = self._clock.now() - started_at
            self._emit(BundleConfirmed(bundle=self.name, generation=number, seconds=took))
        await _whole(generations.mark_announced, number)

    async def _roll_back(self, generations: Generations, number: int, error: ConfirmError) -> None:
        """Put the generation back that the app was known to work with, and tell it again."""
        previous = await _whole(generations.previous)
        if previous is None:
            return
        await self._prepare_confirmation(previous)
        await _whole(generations.restore, previous)
        self._use(previous, self._proven)
        self._emit(
            BundleRolledBack(
                bundle=self.name, generation=number, restored=previous, reason=str(error)
            )
        )
        await self._announcer.tell(self._announcement(previous))
        if self._confirmation is not None:
            await self._confirmation.confirm(self._announcement(previous))

    async def _prepare_confirmation(self, number: int) -> None:
        if self._confirmation is not None:
            await self._confirmation.prepare(self._announcement(number))

    def _announcement(self, number: int) -> Announcement:
        return Announcement(self.name, self.spec.directory, number)


async def _whole(function: Callable[..., T], *arguments: object) -> T:
    """Run a blocking function in a thread, to its end even if we are cancelled meanwhile."""
    running = asyncio.get_running_loop().run_in_executor(None, function, *arguments)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
