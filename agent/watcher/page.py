"""One secret's page of the ledger: the current value, those before it, and what was refused.

Nothing here asks the store for a value, or waits, but the giving up of leases at the end.
"""

from __future__ import annotations

from msgspec.structs import replace

from agent.config.model import SecretEntry
from agent.core.book import KeptSecret
from agent.core.clock import Clock
from agent.core.events import (
    Emit,
    LeasesNotRevoked,
    SecretExpired,
    SecretRefused,
    SecretRestored,
)
from agent.core.lease import Act, Lease, Policy
from agent.core.secret import Reading
from agent.ledger import REFUSED, Ledger, State
from agent.stores.base import Store
from agent.watcher.former import FormerValues, Seal
from agent.watcher.holding import Holding, Outlook
from agent.watcher.keeping import CACHED, CACHED_REASON, holdings, kept_value, place_of
from agent.watcher.refusal import Refusal


class Page:
    """Written by one watcher. `refusal` is there from the first value that an app has refused until
    another one is proven.
    """

    __slots__ = (
        "_clock",
        "_emit",
        "_ledger",
        "_name",
        "_spec",
        "_store",
        "current",
        "former",
        "outlook",
        "refusal",
    )

    def __init__(
        self,
        name: str,
        spec: SecretEntry,
        store: Store,
        ledger: Ledger,
        clock: Clock,
        emit: Emit,
        seal: Seal,
    ) -> None:
        self._name, self._spec, self._store = name, spec, store
        self._ledger, self._clock, self._emit = ledger, clock, emit
        self.outlook = Outlook(store, clock, Policy())
        self.former = FormerValues(name, store, ledger, self.outlook, clock, emit, seal)
        self.current: Holding | None = None
        self.refusal: Refusal | None = None

    def update(self, spec: SecretEntry, policy: Policy) -> None:
        """Another policy for the same place."""
        self._spec, self.outlook.policy = spec, policy
        self.outlook.is_written, self.outlook.max_stale = spec.data is not None, spec.max_stale
        self.former.is_revoking = spec.revoke == "on_retire"

    # --- what the store says ------------------------------------------------------------------

    def arrived(self, reading: Reading, asked_at: float) -> bool:
        """A fresh reading; True if it is another value than the current one."""
        if self._is_refused_already(reading, asked_at):
            return False
        fresh, before = self.outlook.arrived(reading, asked_at), self.current or self._inherited()
        is_changed = self._ledger.record(self._name, reading, self.outlook.expires_at(fresh))
        fresh.revision = self._ledger.entry(self._name).revision
        self.current = fresh
        if is_changed and before is not None:
            self.former.add(before)
        self._attempted(fresh, is_changed)
        return is_changed

    def renewed(self, holding: Holding, lease: Lease, asked_at: float) -> None:
        """The same value with a new term; it may have been replaced while the store was asked."""
        holding.reading = replace(holding.reading, lease=lease)
        self._proven(holding, asked_at)
        if holding is self.current:
            expires_at = self.outlook.expires_at(holding)
            self._ledger.renewed(self._name, holding.reading, expires_at)
            self._say_refused()
        else:
            self.former.look_again()

    def denied(self) -> None:
        """The store knows this secret no more, or not for us."""
        if self.current is not None and self.current.denied_since is None:
            self.current.denied_since = self._clock.now()

    def prove(self) -> None:
        """A value of the run before, of which nothing need be asked once the store is there."""
        holding = self.current
        if holding is None or not holding.is_cached or self.outlook.is_over(holding):
            return
        if self._store.is_ready and self.outlook.proof(holding) is None:
            self._proven(holding, self._clock.now())
            expires_at = self.outlook.expires_at(holding)
            self._ledger.renewed(self._name, holding.reading, expires_at)

    def _proven(self, holding: Holding, at: float) -> None:
        holding.proven_at, holding.denied_since, holding.is_cached = at, None, False

    # --- how long the value is good -----------------------------------------------------------

    def end_of_current(self) -> float | None:
        """When the current value is worth nothing any more; None if it never is, or is already."""
        entry, current = self._ledger.entry(self._name), self.current
        if current is None or entry.state is State.EXPIRED:
            return None
        ends_at = self.outlook.expires_at(current)
        ends = [] if ends_at is None else [ends_at]
        if entry.state is State.STALE and entry.kind != REFUSED:
            ends.append(self._vouched_for_at(current) + self._spec.max_stale)
        if current.denied_since is not None and not self.outlook.has_own_end(current):
            ends.append(current.denied_since + self._spec.max_denied)
        return min(ends, default=None)

    def _vouched_for_at(self, current: Holding) -> float:
        """When it was last known to be good: by the store's word, or as long as all went well.

        A value with an end of its own is not asked for before that comes near.
        """
        if not self.outlook.has_own_end(current):
            return current.proven_at
        stale_since = self._ledger.entry(self._name).stale_since
        return self._clock.now() if stale_since is None else max(current.proven_at, stale_since)

    def expire(self) -> None:
        """A value that has come to its end is not used any more.

        It is said where it should have been replaced before; a lease that was cut short is.
        """
        ends_at = self.end_of_current()
        if self.current is None or ends_at is None or ends_at > self._clock.now():
            return
        self._ledger.expired(self._name)
        if not self.outlook.is_cut_short(self.current):
            self._emit(SecretExpired(secret=self._name))

    # --- what apps say ------------------------------------------------------------------------

    @property
    def is_pausing(self) -> bool:
        """The newest value was refused, and it is not yet time for another one."""
        return self.refusal is not None and self.refusal.is_pausing

    def heed_consumers(self) -> bool:
        """After one has let go of a revision, or rejected it; True if the current one is refused.

        A new value that is all that its consumers hold is proven.
        """
        current = self.current
        if current is None:
            return False
        if (reason := self._ledger.heed_rejection(self._name)) is not None:
            self._refuse(current, reason)
            return True
        if self.refusal is not None and not self.is_pausing and self._is_held_alone(current):
            self.refusal = None
        return False

    def attempt_at(self) -> float:
        """When another value is fetched instead of the one refused; now, if none is."""
        if self.refusal is None or self.current is None:
            return self._clock.now()
        is_kept_alive = self.outlook.due(self.current, None).act is Act.RENEW
        return self.refusal.next_at(
            None if is_kept_alive else self.outlook.expires_at(self.current)
        )

    def _refuse(self, current: Holding, reason: str) -> None:
        now = self._clock.now()
        if self.refusal is None:
            self.refusal = Refusal.first(current.reading, reason, now)
        else:
            self.refusal.again(current.reading, reason, now)
        before = self.former.take_back()
        if before is not None:
            self._put_back(before, current)
        self._say_refused()
        self._emit(
            SecretRefused(
                secret=self._name,
                version=current.reading.version,
                restored=None if before is None else before.reading.version,
                reason=reason,
                retry_after=self.attempt_at() - now,
            )
        )

    def _put_back(self, before: Holding, refused: Holding) -> None:
        """The store has vouched for the secret when it gave the value that was refused."""
        self._proven(before, max(before.proven_at, refused.proven_at))
        self.current, refused.is_refused = before, True
        self._resume(before, self._clock.now(), "refused", REFUSED)
        self.former.add(refused)

    def _say_refused(self) -> None:
        if self.refusal is not None and self.refusal.is_pausing:
            self._ledger.stale(self._name, self.refusal.text, REFUSED, since=self.refusal.since)

    def _is_refused_already(self, reading: Reading, asked_at: float) -> bool:
        """The answer to what was asked before the app refused this very value: no new attempt."""
        refusal = self.refusal
        if refusal is None or not refusal.is_pausing or asked_at >= refusal.at:
            return False
        return refusal.is_of(reading)

    def _attempted(self, fresh: Holding, is_changed: bool) -> None:
        """After a pause: another value is out, or the same one that was refused, or put back."""
        refusal = self.refusal
        if refusal is None or not refusal.is_pausing:
            return
        if is_changed:
            refusal.is_pausing = False
        elif refusal.is_of(fresh.reading) and not self._is_held_alone(fresh):
            refusal.again(fresh.reading, refusal.reason, self._clock.now())
            self._say_refused()
        else:
            self.refusal = None

    def _is_held_alone(self, holding: Holding) -> bool:
        return self._ledger.judged(self._name) == {holding.revision}

    # --- from one run to the next -------------------------------------------------------------

    @property
    def place(self) -> str:
        """What decides whether another entry means the same secret."""
        return place_of(self._store.name, self._spec)

    def kept(self, *, is_minting: bool) -> KeptSecret:
        """What the next run needs."""
        current, value = self.current, None
        if current is not None and not self.outlook.is_over(current):
            value = kept_value(current, proven_at=self._vouched_for_at(current))
        former = [kept_value(each, proven_at=each.proven_at) for each in self.former]
        return KeptSecret(self._store.name, self.place, value, former, is_minting)

    def restore(self, kept: KeptSecret) -> bool:
        """Take up what the run before has left; True if there is a current value again.

        What must not be used any more, or was had from another place, is only retired.
        """
        is_same_place = kept.place == self.place
        former = holdings(kept.former)
        for holding in former:
            holding.is_refused = not is_same_place
        for holding in holdings([] if kept.current is None else [kept.current]):
            if is_same_place and not self._is_worthless(holding):
                self._take_up(holding)
            else:
                holding.is_refused = True
                former.append(holding)
        self.former.restore(former)
        return self.current is not None

    def _is_worthless(self, holding: Holding) -> bool:
        """It must not be used any more, whatever the store may say."""
        last_use = holding.proven_at + self._spec.max_stale
        if holding.denied_since is not None and not self.outlook.has_own_end(holding):
            last_use = min(last_use, holding.denied_since + self._spec.max_denied)
        return last_use <= self._clock.now() or self.outlook.is_over(holding)

    def _take_up(self, holding: Holding) -> None:
        now, lease = self._clock.now(), holding.reading.lease
        if lease is not None:
            self._store.adopt(lease)
        self.current, holding.is_cached = holding, True
        self._resume(holding, holding.proven_at, CACHED_REASON, CACHED)
        version, age = holding.reading.version, now - holding.proven_at
        self._emit(SecretRestored(secret=self._name, version=version, age_seconds=age))

    def _resume(self, holding: Holding, stale_since: float, reason: str, kind: str) -> None:
        self._ledger.resume(
            self._name,
            holding.reading,
            holding.revision,
            read_at=holding.read_at,
            expires_at=self.outlook.expires_at(holding),
            stale_since=stale_since,
            reason=reason,
            kind=kind,
        )

    # --- the end ------------------------------------------------------------------------------

    def let_go(self) -> None:
        """The current value is a former one from now on.

        One without a lease that stands in the ledger needs no care: its next owner takes it over.
        """
        current, self.current = self.current, None
        if current is None:
            return
        is_current_still = self._ledger.entry(self._name).revision == current.revision
        if current.reading.lease is not None or not is_current_still:
            self.former.add(current)

    def _inherited(self) -> Holding | None:
        """The value without a lease that an owner before us has left, for those who hold it."""
        entry = self._ledger.entry(self._name)
        if entry.reading is None or entry.reading.lease is not None or entry.read_at is None:
            return None
        return Holding(entry.revision, entry.reading, entry.read_at, entry.read_at)

    async def give_up(self) -> list[Lease]:
        """Revoke all leases, those of former values first; the ones that could not be."""
        error = await self.former.retire_all()
        current, is_left = self.current, False
        if current is not None and current.reading.lease is not None:
            last_error = await self.former.give_up(current)
            is_left = last_error is not None
            error = last_error or error
            if not is_left and self.former.is_revoking:
                self.current = None
        holdings_left = [*self.former, *([current] if current is not None and is_left else [])]
        left = [each.reading.lease for each in holdings_left if each.reading.lease is not None]
        if left and error is not None:
            ends_after = max(lease.term.ends_at for lease in left) - self._clock.now()
            told = LeasesNotRevoked(
                secret=self._name, leases=len(left), reason=error.reason, ends_after=ends_after
            )
            self._emit(told)
        return left
