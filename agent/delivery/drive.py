"""Drives a bundle's transaction: does the step that its machine asks for, and says how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

import msgspec

from agent.core.backoff import Backoff
from agent.core.clock import Clock
from agent.core.errors import AgentError, ConfirmError, DeliveryError, NotifyError
from agent.core.events import (
    BundleConfirmed,
    BundleCurrent,
    BundleFailed,
    BundleMoved,
    BundlePublished,
    BundleRestored,
    BundleRolledBack,
    Emit,
)
from agent.delivery.drill import Wish
from agent.delivery.generations import RenderedFile
from agent.delivery.outliving import OUTLIVED, T, unless_outlived
from agent.delivery.revisions import Held, Revisions, union
from agent.delivery.steps import Steps
from agent.delivery.transaction import NO_FALLBACK, Fallback, Step, Transaction
from agent.ledger import Ledger

Files = Mapping[str, RenderedFile]


class Work(msgspec.Struct):
    """What one transaction is about. `render` may raise RenderError; it does not wait."""

    secrets: frozenset[str]
    render: Callable[[], Files]
    files: Files = {}
    changed: list[str] = []
    drill: Wish | None = None
    pause: float | None = None


class Drive:
    """One bundle's transactions, one after the other.

    `generation` is the one that is seen (0: none), `revisions` the secrets' that it was made of,
    and `newest` the last that was published; `proven_by` is the one that the app has last proven,
    which is the directory's own record but for what a run that was killed had not kept yet (0: not
    known). `on_generation` is called when they change.
    """

    def __init__(
        self,
        name: str,
        steps: Steps,
        ledger: Ledger,
        *,
        clock: Clock,
        emit: Emit,
        on_generation: Callable[[], None],
        notify_first: bool,
        room: float,
    ) -> None:
        """`room`: the seconds that an attempt may take."""
        self.transaction = Transaction()
        self.generation = 0
        self.newest = 0
        self.proven_by = 0
        self.revisions: Revisions = {}
        self._name, self._steps, self._ledger = name, steps, ledger
        self._clock, self._emit, self._on_generation = clock, emit, on_generation
        self._notify_first, self._room = notify_first, room
        self._consumer = f"bundle {name}"
        self._backoff = Backoff(first=0.5, ceiling=60.0)
        self._reason = ""

    @property
    def trouble(self) -> Step | None:
        """The step that failed, until all is well."""
        return self.transaction.trouble

    def next_at(self) -> float | None:
        """When there is something to do, if nothing changes before."""
        retry_at = self.transaction.retry_at
        return self._steps.announcer.next_look_at() if retry_at is None else retry_at

    # --- a start and an end -------------------------------------------------------------------

    def start_from(self, proven: Revisions, proven_by: int, kept: Held) -> None:
        """What the app is known to work with, from the run before, and what it may be using."""
        self.proven_by = proven_by
        self.transaction = Transaction(proven=dict(proven), exposed=union(kept))
        self._hold()

    def take_over(self, former: Drive) -> None:
        """Go on where another, which was stopped anywhere, has left files and app."""
        self.generation, self.revisions = former.generation, former.revisions
        self.newest, self.proven_by = former.newest, former.proven_by
        self.transaction = Transaction().succeeded(former.transaction)

    def leave(self) -> None:
        """Depend on nothing."""
        self._ledger.release(self._consumer)

    def _hold(self) -> None:
        """Say in the ledger what the app may be using."""
        self._ledger.hold(self._consumer, self.transaction.held)

    async def put_back(self) -> None:
        """Have the proven generation seen again, if another one is.

        Not if its values are known to be dead. One of another run, of which nothing is known, may
        live; what was minted for the one that is seen was given back.
        """
        fallback = await self._fallback()
        number, taken_back = fallback.generation, self.generation
        is_known = bool(self.transaction.proven)
        if number is None or (is_known and not fallback.holds(self._clock.now())):
            return
        await self._steps.restore(number)
        self._use(number, self.transaction.proven)
        self._tell_rolled_back(taken_back, self._reason or "not confirmed in time")

    # --- transactions -------------------------------------------------------------------------

    async def update(self, wanted: Callable[[], Revisions], work: Work) -> None:
        """From the secrets as they are now to an app that is proven to use them."""
        is_undoing = self.transaction.undoes is not None
        fallback = await self._fallback() if is_undoing else NO_FALLBACK
        revisions = wanted()
        leased = frozenset(name for name in revisions if self._has_lease(name))
        self.transaction = self.transaction.begin(
            revisions, leased, self._clock.now(), fallback, self._room
        )
        await self._go(work)

    async def rehearse(self, drill: Wish) -> None:
        """The same values once more, as a generation of their own."""
        files = await self._steps.seen()
        self.transaction = self.transaction.rehearse()
        secrets = frozenset(self.transaction.wanted)
        await self._go(Work(secrets, lambda: files, files, sorted(files), drill))

    async def _go(self, work: Work) -> None:
        """Step by step, until there is nothing to be done now."""
        while (step := self.transaction.step) is not Step.WAITING:
            self._emit(BundleMoved(bundle=self._name, state=self.transaction.state))
            began_at, reason, is_back = self._clock.now(), None, self._is_back
            try:
                self.transaction = await self._do(step, work)
                if self.transaction.step is Step.WAITING and step is not Step.RENDERING:
                    self.proven_by = self.generation
            except AgentError as error:
                reason = str(error)
                await self.fail(error, work)
            except asyncio.CancelledError:
                await self._steps.discard()
                raise
            if work.drill is not None:
                work.drill.took(step, self._clock.now() - began_at, reason)
            self._hold()
            if is_back and step is Step.SETTLING:
                self._reject()
        self._emit(BundleMoved(bundle=self._name, state=self.transaction.state))
        if self.transaction.trouble is None:
            self._backoff.reset()

    # --- the steps ----------------------------------------------------------------------------

    async def _do(self, step: Step, work: Work) -> Transaction:
        """Do it; how the transaction goes on."""
        now, undoes = self.transaction, self.transaction.undoes
        match step:
            case Step.RENDERING:
                return self._render(work)
            case Step.COMPARING:
                return await self._compare(work)
            case Step.VALIDATING:
                await self._steps.validate(work.files)
                return now.validated()
            case Step.PUBLISHING:
                return await self._publish(work)
            case Step.NOTIFYING | Step.NOTIFYING_AGAIN:
                return await self._notify(work)
            case Step.CONFIRMING | Step.CONFIRMING_AGAIN:
                return await self._confirm(work)
            case Step.RESTORING if undoes is not None:
                return await self._restore(undoes, work)
            case Step.SETTLING:
                return await self._settle(work)
        raise AssertionError(step)

    def _render(self, work: Work) -> Transaction:
        """Nothing is waited for between the look at the ledger and the hold on what it shows."""
        work.files = work.render()
        wanted = tuple(sorted(self.transaction.wanted.items()))
        attempt = hash((wanted, tuple(sorted(work.files.items()))))
        return self.transaction.rendered(attempt, self._clock.now())

    async def _compare(self, work: Work) -> Transaction:
        work.changed = await self._steps.compare(work.files)
        shown = await self._steps.shown()
        moved = self.transaction.compared(is_changed=bool(work.changed), shown=shown)
        if not work.changed and shown.current is not None:
            self._use(shown.current, self.transaction.wanted)
            if not self.transaction.waits_for_another:
                self._emit(BundleCurrent(bundle=self._name, generation=shown.current))
        return moved

    async def _publish(self, work: Work) -> Transaction:
        shown = await self._steps.shown()
        is_first = not self.generation and shown.current is None
        is_known = is_first and not self._notify_first
        number = await self._steps.publish(is_known=is_known)
        self._use(number, self.transaction.wanted)
        self._emit(
            BundlePublished(
                bundle=self._name,
                generation=number,
                secrets=sorted(work.secrets),
                changed_files=work.changed,
            )
        )
        return self.transaction.published(is_known=is_known)

    async def _notify(self, work: Work) -> Transaction:
        is_anybody_there = await self._in_time(self._steps.notify, NotifyError("the app", OUTLIVED))
        is_asked = self._steps.asks or self._is_to_fail(work)
        if work.drill is not None and not is_anybody_there:
            work.drill.remark = "nobody is there to be told"
        elif work.drill is not None and not self._steps.tells:
            work.drill.remark = "nobody is told: the bundle has no `notify`"
        return self.transaction.notified(asks=is_anybody_there and is_asked)

    async def _confirm(self, work: Work) -> Transaction:
        began_at = self._clock.now()
        if self._is_to_fail(work):
            raise ConfirmError("drill", "taken for a failure, as was asked")
        await self._in_time(self._steps.confirm, ConfirmError("the app", OUTLIVED))
        told = BundleRestored if self._is_back else BundleConfirmed
        took = self._clock.now() - began_at
        self._emit(told(bundle=self._name, generation=self.generation, seconds=took))
        return self.transaction.confirmed()

    async def _in_time(self, step: Callable[[int], Awaitable[T]], outlived: AgentError) -> T:
        ask = partial(step, self.generation)
        return await unless_outlived(ask, self.revisions, self._ledger, self._clock, outlived)

    async def _restore(self, number: int, work: Work) -> Transaction:
        """Put the generation back that the app was known to work with."""
        taken_back = self.generation
        await self._steps.restore(number)
        self._use(number, self.transaction.proven)
        if work.drill is None and taken_back != number:
            self._tell_rolled_back(taken_back, self._reason)
        return self.transaction.restored()

    def _tell_rolled_back(self, taken_back: int, reason: str) -> None:
        self._emit(
            BundleRolledBack(
                bundle=self._name,
                generation=taken_back,
                restored=self.generation,
                reason=reason,
            )
        )

    async def _settle(self, work: Work) -> Transaction:
        await self._steps.settle(self.generation)
        if not self._is_back:
            return self.transaction.settled(self._clock.now(), 0.0)
        fallback = await self._fallback()
        return self.transaction.settled(self._clock.now(), self._pause(work), fallback)

    def _reject(self) -> None:
        """Whoever brings the secrets is told what the app went back from."""
        for name, revision in self.transaction.refused.items():
            self._ledger.reject(name, revision, self._reason)

    # --- a failure ----------------------------------------------------------------------------

    async def fail(self, error: AgentError, work: Work | None = None) -> None:
        """A step, or what comes before the first, could not be done."""
        work = work or Work(frozenset(), dict)
        with suppress(AgentError):  # the next candidate takes its place
            await self._steps.discard()
        fallback = await self._fallback()
        now = self._clock.now()
        self.transaction = self.transaction.failed(now, self._pause(work), fallback)
        self._reason = str(error)
        is_over = self.transaction.step is Step.WAITING
        if work.drill is None or (is_over and self.transaction.trouble is not None):
            retry_at = self.transaction.retry_at if is_over else None
            self._emit(
                BundleFailed(
                    bundle=self._name,
                    step=error.step if isinstance(error, DeliveryError) else "render",
                    reason=self._reason,
                    retry_after=None if retry_at is None else retry_at - now,
                )
            )

    def _pause(self, work: Work) -> float:
        """Drawn once for each attempt."""
        if work.pause is None:
            work.pause = self._backoff.delay()
        return work.pause

    async def _fallback(self) -> Fallback:
        """What could be put back now, or has been just now, and how long that would work."""
        try:
            generation = await self._steps.proven()
        except AgentError:
            generation = None
        proven = self.transaction.proven
        if proven and generation != self.proven_by:
            generation = None  # what that is made of is not what we know of
        if generation is None and self.generation == self.transaction.undoes:
            generation = self.generation
        ends = [self._ledger.ends_at(name, revision) for name, revision in proven.items()]
        return Fallback(
            generation,
            is_alive=all(self._ledger.is_alive(name, each) for name, each in proven.items())
            if proven
            else not any(self._has_lease(name) for name in self.transaction.wanted),
            ends_at=min((each for each in ends if each is not None), default=None),
        )

    # --- what is so ---------------------------------------------------------------------------

    @property
    def _is_back(self) -> bool:
        return self.transaction.undoes is not None

    def _is_to_fail(self, work: Work) -> bool:
        """The app's proof is taken for a failure: somebody wants to see the way back."""
        return work.drill is not None and work.drill.fail == "confirm" and not self._is_back

    def _has_lease(self, name: str) -> bool:
        reading = self._ledger.entry(name).reading
        return reading is not None and reading.lease is not None

    def _use(self, generation: int, revisions: Revisions) -> None:
        self.generation, self.revisions = generation, revisions
        self.newest = max(self.newest, generation)
        self._on_generation()
