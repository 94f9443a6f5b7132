"""A store of a few lines that does what the test says, and writes down what it is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count

from msgspec.structs import replace

from agent.core.book import KeptStore
from agent.core.clock import Clock
from agent.core.errors import Invalid, Missing, Outage, StoreError
from agent.core.lease import Lease, Term
from agent.core.secret import Reading, Secret
from agent.stores.base import Parent, ReadRequest, Subscriber, Subscribers


@dataclass(frozen=True)
class Asked:
    """One request: `read`, `renew` or `revoke`, of a path or a lease."""

    at: float
    what: str
    of: str


Before = Callable[[Asked], Awaitable[None] | StoreError | None]


class ScriptedStore:
    """Values are numbered. With `ttl` they have leases that end, at `max_ttl` at the latest."""

    def __init__(
        self,
        clock: Clock,
        *,
        ttl: float | None = None,
        max_ttl: float = float("inf"),
        is_renewable: bool = True,
    ) -> None:
        self.name = "store"
        self.clock = clock
        self.ttl, self.max_ttl, self.is_renewable = ttl, max_ttl, is_renewable
        self.asked: list[Asked] = []
        self.before: Before = lambda asked: None
        self.fixed: Reading | None = None
        self.parents: dict[str, Parent] = {"token-1": Parent(is_alive=True)}
        self.token = "token-1"
        self.trouble: StoreError | None = None
        self.ended: dict[str, float] = {}
        self.left: list[str] = []
        self.adopted: list[str] = []
        self._numbers = count(1)
        self._made_at: dict[str, float] = {}
        self._subscribers = Subscribers()

    # --- for tests ----------------------------------------------------------------------------

    def times(self, what: str) -> list[float]:
        """The instants of such requests."""
        return [asked.at for asked in self.asked if asked.what == what]

    def alive(self) -> list[str]:
        """Leases that work now, whatever anybody believes."""
        now = self.clock.now()
        return [each for each, end in self.ended.items() if end > now]

    def goes_down(self, reason: str = "can't connect") -> None:
        self.trouble = Outage("read", self.name, "", reason)

    def comes_back(self) -> None:
        self.trouble = None
        self._subscribers.look_again()

    def loses_token(self) -> None:
        """Revoked outside, and another one had at once."""
        self._end_leases_of(self.token)
        self.parents[self.token] = Parent(is_alive=False)
        self.next_token()

    def token_nears_end(self, ends_at: float) -> None:
        """It has a successor."""
        self.parents[self.token] = Parent(True, ends_at, self.clock.now())
        self.next_token()

    def next_token(self) -> None:
        self.token = f"token-{len(self.parents) + 1}"
        self.parents[self.token] = Parent(is_alive=True)
        self._subscribers.look_again()

    def fail(self, *whats: str, error: type[StoreError], **more: bool) -> None:
        """From now on such requests fail; none named: no more."""

        def before(asked: Asked) -> StoreError | None:
            if asked.what not in whats:
                return None
            return error(asked.what, self.name, asked.of, "as scripted", **more)

        self.before = before

    def revoke_outside(self, lease_id: str) -> None:
        self.ended[lease_id] = self.clock.now()

    def _end_leases_of(self, token: str) -> None:
        for lease_id in self.ended:
            if lease_id.startswith(f"{token}/"):
                self.ended[lease_id] = min(self.ended[lease_id], self.clock.now())

    # --- the contract of stores.base ----------------------------------------------------------

    @property
    def refusal(self) -> StoreError | None:
        return None

    @property
    def is_ready(self) -> bool:
        return self.trouble is None

    async def run(self) -> None:
        raise AssertionError("nothing goes on in a scripted store")

    async def read(self, request: ReadRequest) -> Reading:
        await self._ask("read", request.path)
        if self.fixed is not None:
            return self.fixed
        number = next(self._numbers)
        return Reading(Secret({"number": number}), str(number), self._lease(number))

    async def renew(self, lease: Lease) -> Lease:
        await self._ask("renew", lease.id)
        now = self.clock.now()
        if self.ended[lease.id] <= now:
            raise Invalid("renew", self.name, lease.id, "lease not found")
        lasts = min(lease.term.full, self._made_at[lease.id] + self.max_ttl - now)
        if lasts <= 0:
            raise Missing("renew", self.name, lease.id, "at its maximum")
        self.ended[lease.id] = now + lasts
        return replace(lease, term=lease.term.renewed(now, lasts, self.is_renewable))

    async def revoke(self, lease: Lease) -> None:
        await self._ask("revoke", lease.id)
        self.ended[lease.id] = min(self.ended[lease.id], self.clock.now())
        self.forget(lease)

    def forget(self, lease: Lease, *, lives_on: bool = False) -> None:
        if lives_on:
            self.left.append(lease.id)

    def kept(self) -> KeptStore:
        return KeptStore("place")

    def restore(self, kept: KeptStore, *, is_ending: bool) -> None:
        raise AssertionError("a scripted store has no identity to go on with")

    def adopt(self, lease: Lease) -> None:
        self.adopted.append(lease.id)

    def parent(self, lease: Lease) -> Parent:
        return self.parents[lease.parent or "token-1"]

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        return self._subscribers.subscribe(subscriber)

    async def close(self, *, is_final: bool = True) -> None:
        return

    # --- inside -------------------------------------------------------------------------------

    async def _ask(self, what: str, of: str) -> None:
        asked = Asked(self.clock.now(), what, of)
        self.asked.append(asked)
        verdict = self.before(asked)
        if isinstance(verdict, StoreError):
            raise verdict
        if verdict is not None:
            await verdict

    def _lease(self, number: int) -> Lease | None:
        if self.ttl is None:
            return None
        now = self.clock.now()
        lease_id = f"{self.token}/{number}"
        self._made_at[lease_id], self.ended[lease_id] = now, now + self.ttl
        return Lease(lease_id, Term(now, self.ttl, self.is_renewable, self.ttl), self.token)
