"""The transaction's machine among a store, a directory, a book and an app, through every order of
failures, rotations, ends of leases and restarts.

The ledger is the real one. The store, the watcher, the files and the app are models of a few lines:
a watcher puts a refused value's living predecessor back, fetches another one only after a pause,
and revokes what was replaced and nobody holds.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from agent.core.lease import Lease, Term
from agent.core.secret import Reading, Secret
from agent.delivery.transaction import Fallback, Shown, Step, Transaction
from agent.ledger import Ledger
from tests.rig.clock import JumpClock

DB, CONSUMER = "db", "bundle app"
TTL, PAUSE, WATCHER_PAUSE, ROOM = 600.0, 7.0, 11.0, 20.0
A_DRILL = 0
ASKED = (Step.VALIDATING, Step.CONFIRMING, Step.CONFIRMING_AGAIN)


class Time(JumpClock):
    """One that is set by hand; nobody waits."""

    def pass_by(self, seconds: float) -> None:
        self._now += seconds


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Time()
        # the store: when each credential ends; those that were taken back have ended
        self.ends: dict[int, float] = {}
        self.revoked: set[int] = set()
        # the watcher, which its book outlives
        self.current = 0
        self.former: list[int] = []
        self.rejected: set[int] = set()
        self.fetch_at: float | None = None
        self.fetched = self.refusals = 0
        # the directory
        self.files: dict[int, int] = {}
        self.shown = self.announced = self.good = 0
        self.candidate: int | None = None
        self.valid: set[int] = set()
        # the app
        self.loaded = self.confirmed = 0
        self.kept: dict[str, int] = {}
        self.refused: list[tuple[float, Step, int]] = []
        self.start()
        self.mint()
        self.wake()

    # --- the store and the watcher --------------------------------------------------------------

    def reading(self, revision: int) -> Reading:
        term = Term(self.clock.now(), self.ends[revision] - self.clock.now(), True, TTL)
        lease = Lease(f"lease-{revision}", term, "token")
        return Reading(Secret({"number": revision}), str(revision), lease)

    def mint(self) -> None:
        """A new credential takes the current one's place."""
        before, self.fetch_at = self.current, None
        revision = max(self.ends, default=0) + 1
        self.ends[revision] = self.clock.now() + TTL
        self.ledger.continue_after(revision - 1)
        self.ledger.record(DB, self.reading(revision), self.ends[revision])
        self.current = self.ledger.entry(DB).revision
        assert self.current == revision
        if before:
            self.keep(before)
        self.retire()

    def keep(self, revision: int) -> None:
        self.former.append(revision)
        self.ledger.former(DB, revision, self.ends[revision])

    def retire(self) -> None:
        """Revoke what was replaced and nobody holds; put back what stands for a refused one."""
        if (reason := self.ledger.heed_rejection(DB)) is not None:
            assert reason
            self.rejected.add(self.current)
            self.fetch_at = self.clock.now() + WATCHER_PAUSE
            living = [each for each in self.former if self.ledger.is_alive(DB, each)]
            if living:
                refused, self.current = self.current, max(living)
                self.former.remove(self.current)
                self.ledger.retired(DB, self.current)
                self.ledger.resume(
                    DB,
                    self.reading(self.current),
                    revision=self.current,
                    read_at=self.clock.now(),
                    stale_since=self.clock.now(),
                    reason="refused",
                    kind="refused",
                    expires_at=self.ends[self.current],
                )
                self.keep(refused)
        for revision in [each for each in self.former if each not in self.ledger.held(DB)]:
            self.former.remove(revision)
            self.ledger.retired(DB, revision)
            self.revoked.add(revision)
            self.ends[revision] = min(self.ends[revision], self.clock.now())

    def load(self) -> None:
        self.loaded = self.files[self.shown]

    # --- the driver -----------------------------------------------------------------------------

    @property
    def at_rest(self) -> Transaction:
        """The transaction, if nothing is under way and all is well."""
        return replace(self.transaction, step=Step.WAITING, trouble=None)

    def start(self, former: Sequence[int] = ()) -> None:
        """The agent's memory is empty; the book and the directory are as they were."""
        self.ledger = Ledger(self.clock)
        exposed = {DB: frozenset({self.current, *former})} if former else {}
        self.transaction = Transaction(proven=dict(self.kept), exposed=exposed)
        self.generation = 0
        self.candidate = None
        self.ledger.hold(CONSUMER, self.transaction.held)

    def fallback(self) -> Fallback:
        proven = self.transaction.proven
        is_back = self.transaction.undoes is not None
        there = self.good in self.files and (self.good != self.shown or is_back)
        return Fallback(
            generation=self.good if there else None,
            is_alive=bool(proven) and self.ledger.is_alive(DB, proven[DB]),
            ends_at=self.ledger.ends_at(DB, proven[DB]) if proven else None,
        )

    def wake(self) -> None:
        """Something has changed, or it is time; rendering waits for nothing."""
        assert self.transaction.step is Step.WAITING
        if not self.ledger.entry(DB).is_usable:
            return
        now = self.clock.now()
        wanted = {DB: self.current}
        self.transaction = self.transaction.begin(
            wanted, frozenset({DB}), now, self.fallback(), ROOM
        )
        if self.transaction.step is Step.RENDERING:
            self.transaction = self.transaction.rendered(self.current, now)
        self.hold()

    def hold(self) -> None:
        self.ledger.hold(CONSUMER, self.transaction.held)
        if self.transaction.step is Step.WAITING:
            self.kept = dict(self.transaction.proven)
        self.retire()

    def fail(self) -> None:
        """As the driver does it: what is not published is removed."""
        self.candidate = None
        was_back = self.transaction.undoes is not None
        self.transaction = self.transaction.failed(self.clock.now(), PAUSE, self.fallback())
        if self.transaction.undoes is not None and not was_back:
            assert self.ends[self.files[self.transaction.undoes]] > self.clock.now(), "it lives"

    def publish(self) -> None:
        number = max([*self.files, self.shown], default=0) + 1
        is_first = not self.shown and not self.generation
        assert self.candidate is not None
        kept = {self.shown, self.good}
        self.files = {n: each for n, each in self.files.items() if n in kept}
        self.files[number] = self.candidate
        self.shown = self.generation = number
        self.candidate = None
        if is_first:
            self.announced = self.good = number
            self.loaded = self.confirmed = self.files[number]
        self.transaction = self.transaction.published(is_known=is_first)

    def succeed(self, step: Step) -> None:
        moved = self.transaction
        match step:
            case Step.COMPARING:
                is_changed = self.files.get(self.shown) != moved.wanted[DB]
                shown = Shown(self.shown or None, self.announced)
                self.transaction = moved.compared(is_changed=is_changed, shown=shown)
            case Step.VALIDATING:
                self.candidate = moved.wanted[DB]
                self.valid.add(self.candidate)
                self.transaction = moved.validated()
            case Step.PUBLISHING:
                self.publish()
            case Step.NOTIFYING | Step.NOTIFYING_AGAIN:
                self.load()
                self.transaction = moved.notified(asks=True)
            case Step.CONFIRMING | Step.CONFIRMING_AGAIN:
                self.confirmed = self.loaded
                self.transaction = moved.confirmed()
            case Step.RESTORING:
                assert moved.undoes is not None
                self.files = {n: each for n, each in self.files.items() if n <= moved.undoes}
                self.shown, self.announced = moved.undoes, 0
                self.transaction = moved.restored()
            case Step.SETTLING:
                self.settle()

    def settle(self) -> None:
        self.announced = self.good = self.shown
        is_back, now = self.transaction.undoes is not None, self.clock.now()
        self.transaction = self.transaction.settled(now, PAUSE, self.fallback())
        self.kept = dict(self.transaction.proven)
        self.ledger.hold(CONSUMER, self.transaction.held)
        if is_back:
            assert self.loaded == self.confirmed == self.transaction.proven[DB], "not before"
            for name, revision in self.transaction.refused.items():
                self.refusals += 1
                self.ledger.reject(name, revision, "the app says no")

    # --- what may happen ------------------------------------------------------------------------

    @precondition(lambda self: self.transaction.step is not Step.WAITING)
    @rule(well=st.integers(1, 5), fails=st.booleans(), looks=st.booleans())
    def go_on(self, well: int, fails: bool, looks: bool) -> None:
        self.take_steps(well, fails=fails, looks=looks)

    def take_steps(self, well: int, *, fails: bool, looks: bool) -> None:
        """So many go well, and then perhaps one does not; the app may look by itself."""
        for number in range(well + fails):
            if (step := self.transaction.step) is Step.WAITING:
                return
            if number == well:
                self.refused.append((self.clock.now(), step, self.transaction.attempt))
                self.fail()
            else:
                self.succeed(step)
            if looks and self.shown:
                self.load()
            self.hold()

    @precondition(lambda self: self.transaction.step is Step.WAITING)
    @rule(well=st.integers(0, 4))
    def stir(self, well: int) -> None:
        """A file was touched, a template looked at: woken for nothing, and it fails once more."""
        self.wake()
        self.take_steps(well, fails=True, looks=False)

    @precondition(lambda self: self.transaction == self.at_rest and self.shown)
    @rule()
    def drill(self) -> None:
        """Somebody rehearses a rotation."""
        self.transaction = self.transaction.rehearse()

    @rule(seconds=st.sampled_from([0.5, PAUSE, WATCHER_PAUSE, 60.0, TTL / 2, TTL + 1]))
    def time_passes(self, seconds: float) -> None:
        """Leases end by themselves, the watcher fetches what it has waited for, pauses are over."""
        self.clock.pass_by(seconds)
        now = self.clock.now()
        for revision in [each for each in self.former if self.ends[each] <= now]:
            self.former.remove(revision)
            self.ledger.retired(DB, revision)
        if self.fetch_at is not None and self.fetch_at <= now:
            self.fetched += 1
            self.mint()
        elif self.ends[self.current] <= now:
            self.mint()
        if self.transaction.step is Step.WAITING:
            self.wake()

    @rule()
    def rotate(self) -> None:
        """The current credential is replaced, whatever is under way."""
        self.mint()
        if self.transaction.step is Step.WAITING:
            self.wake()

    @rule()
    def restart(self) -> None:
        """Killed at any moment: the book has what was known, the directory what was done."""
        former, self.former, self.refused = self.former, [], []
        self.start(former)
        entry_at = self.clock.now()
        self.ledger.resume(
            DB,
            self.reading(self.current),
            revision=self.current,
            read_at=entry_at,
            stale_since=entry_at,
            reason="kept",
            kind="cached",
            expires_at=self.ends[self.current],
        )
        for revision in former:
            self.keep(revision)
        if self.fetch_at is None and self.ends[self.current] <= entry_at:
            self.mint()
        self.wake()

    # --- what holds in any case -----------------------------------------------------------------

    @invariant()
    def what_is_published_was_validated(self) -> None:
        assert set(self.files.values()) <= self.valid

    @invariant()
    def an_app_has_a_credential_that_nobody_took_back(self) -> None:
        """Whether it has confirmed that, or has read it and may just be using it."""
        assert self.loaded not in self.revoked

    @invariant()
    def what_is_put_back_is_proven(self) -> None:
        if (number := self.transaction.undoes) is not None:
            assert self.transaction.proven == {DB: self.files[number]}

    @invariant()
    def no_lease_is_orphaned(self) -> None:
        living = {each for each, ends_at in self.ends.items() if ends_at > self.clock.now()}
        assert living <= {self.current, *self.former}
        assert set(self.former) <= self.ledger.held(DB), "held, or revoked by now"

    @invariant()
    def what_was_refused_is_not_tried_again_without_time_passing(self) -> None:
        steps = [each for each in self.refused if each[1] in ASKED and each[2] != A_DRILL]
        assert len(steps) == len(set(steps))

    @invariant()
    def one_credential_for_each_refusal_at_most(self) -> None:
        assert self.fetched <= self.refusals

    @invariant()
    def it_waits_for_something(self) -> None:
        """What has failed has an instant at which it is tried again, or a newer value to come."""
        moved = self.transaction
        if moved.step is Step.WAITING and moved.trouble is not None:
            assert moved.retry_at is not None or moved.waits_for_another


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
