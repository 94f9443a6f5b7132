"""The Vault store: every request passes `_request`, where pace, token and errors meet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import random
from secrets import token_bytes
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from agent.config.model import Cert, VaultStore
from agent.core.book import KeptStore
from agent.core.clock import Clock
from agent.core.errors import (
    Denied,
    Invalid,
    Missing,
    NotLoggedIn,
    Outage,
    Sealed,
    StoreError,
)
from agent.core.events import Advice, Emit, RequestDone
from agent.core.file_changes import FileChanges
from agent.core.lease import Lease, Policy
from agent.core.secret import Reading
from agent.stores.availability import Availability
from agent.stores.base import Parent, ReadRequest, Subscriber, Subscribers
from agent.stores.budget import Budget, Demand, Priority, budget_for
from agent.stores.vault.answers import kv1_reading, kv2_reading, reading
from agent.stores.vault.auth import auth_method, place_of
from agent.stores.vault.auto_auth import AutoAuth
from agent.stores.vault.client import VaultClient
from agent.stores.vault.envelope import sealed
from agent.stores.vault.on_disk import follow_credential, follow_tls
from agent.stores.vault.preflight import Mount, Preflight
from agent.stores.vault.replies import Answer
from agent.stores.vault.token import Token
from agent.stores.vault.transport import Connection

if TYPE_CHECKING:
    from agent.stores.vault.passing import Passing

T = TypeVar("T")


class Vault:
    """One Vault or OpenBao server (or cluster) and the agent's identity there."""

    def __init__(
        self,
        name: str,
        spec: VaultStore,
        connection: Connection,
        *,
        budget: Budget,
        clock: Clock,
        changes: FileChanges,
        emit: Emit,
        draw: float = 0.5,
    ) -> None:
        self.name = name
        self._spec, self._connection, self._budget = spec, connection, budget
        self._clock, self._changes, self._emit = clock, changes, emit
        self._anonymous = VaultClient(connection)
        self._subscribers = Subscribers()
        self._availability = Availability(name, clock, emit, self._subscribers.look_again)
        self._preflight = Preflight(self._ask_mount, clock)
        self._method = auth_method(name, spec.auth)
        self._can_revoke = True
        self._digest_key = token_bytes(32)
        self.auth = AutoAuth(
            name,
            self._method,
            self._anonymous,
            paced=self._paced,
            opened=self._availability.opened,
            clock=clock,
            emit=emit,
            policy=Policy(draw=draw),
            changed=self._subscribers.look_again,
        )

    @property
    def refusal(self) -> StoreError | None:
        return self.auth.refusal

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            name = f"store {self.name}"
            group.create_task(self._budget.run(), name=f"{name}: budget")
            group.create_task(self._availability.run(self._probe), name=f"{name}: availability")
            group.create_task(self.auth.run(), name=f"{name}: auto-auth")
            if self._method.watched:
                following = follow_credential(
                    self._method, self._changes, self._clock, self.auth.use_new_credential
                )
                group.create_task(following, name=f"{name}: credential")
            if self._connection.tls_files:
                following = follow_tls(
                    self._connection, self._changes, self._clock, self._emit, self._tls_changed
                )
                group.create_task(following, name=f"{name}: tls")

    def _tls_changed(self) -> None:
        if isinstance(self._spec.auth, Cert):
            self.auth.use_new_credential()

    @property
    def is_ready(self) -> bool:
        return self._availability.is_open and self.auth.is_logged_in

    @property
    def trouble(self) -> StoreError | None:
        if not self._availability.is_open:
            return self._closed("read")
        return None if self.auth.is_logged_in else self.auth.absence()

    async def read(self, request: ReadRequest) -> Reading:
        if request.data is not None:
            return await self._write(request)
        mount = await self._preflight.mount(request.path)
        try:
            if request.version is not None and mount.kv_version != 2:
                reason = "`version` pins an entry of KV version 2, which this is not"
                raise Invalid("read", self.name, request.path, reason)
            if mount.kv_version is not None:
                return await self._read_kv(mount, request)
            return await self._plain(request.path, lambda client: client.read(request.path))
        except (Missing, Denied):  # of another version, it may be where a policy allows nothing
            self._preflight.doubt(mount)
            raise

    async def renew(self, lease: Lease) -> Lease:
        asked_at = self._clock.now()
        answer = await self._request(
            Priority.RENEW,
            "renew lease",
            lambda client: client.renew_lease(lease.id, round(lease.term.full)),
        )
        lasts = answer.lease_duration or 0.0
        if lasts <= 0:
            raise Missing("renew lease", self.name, lease.id, "it was granted no more time")
        term = lease.term.renewed(asked_at, lasts, bool(answer.renewable))
        return replace(lease, term=term)

    async def revoke(self, lease: Lease) -> None:
        """A policy without `sys/leases/revoke` is said once; then leases end with their token."""
        if not self._can_revoke:
            reason = "the policy does not allow sys/leases/revoke"
            raise Denied("revoke lease", self.name, lease.id, reason, is_by_policy=True)
        try:
            await self._request(
                Priority.REVOKE, "revoke lease", lambda client: client.revoke_lease(lease.id)
            )
        except Denied:
            self._can_revoke = False
            text = (
                "the policy does not allow sys/leases/revoke: old leases are left to end with "
                "their time or their token"
            )
            self._emit(Advice(subject=self.name, text=text))
            raise
        except Missing:
            pass  # gone already
        except Invalid as error:  # it lives: its origin could not end it just now
            raise Outage(
                "revoke lease", self.name, lease.id, error.reason, is_store_wide=False
            ) from None
        self.forget(lease)

    def kept(self) -> KeptStore:
        tokens, current = self.auth.kept()
        return KeptStore(place_of(self._spec), tokens, current, self._digest_key)

    def restore(self, kept: KeptStore, *, is_ending: bool) -> None:
        self._digest_key = kept.digest_key or self._digest_key
        self.auth.restore(kept.tokens, kept.current, is_ending=is_ending)

    def adopt(self, lease: Lease) -> None:
        self.auth.adopt(lease.id, lease.parent)

    def forget(self, lease: Lease, *, lives_on: bool = False) -> None:
        self.auth.forget(lease.id, lives_on=lives_on)

    def parent(self, lease: Lease) -> Parent:
        return self.auth.parent(lease.parent)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        return self._subscribers.subscribe(subscriber)

    async def close(self, *, is_final: bool = True) -> None:
        if is_final and self._availability.is_open:
            await self.auth.give_up_all()
        elif is_final:
            self.auth.tell_left(self._closed("revoke token").reason)
        await self._connection.close()

    def passing(self) -> Passing:
        """For a door: what passes local callers' requests on."""
        from agent.stores.vault.passing import Passing  # late: most agents have no such door

        return Passing(
            self.name,
            self._connection,
            self.auth,
            budget=self._budget,
            availability=self._availability,
            closed=self._closed,
            clock=self._clock,
            emit=self._emit,
            most=max(1, self._spec.budget.concurrent // 2),
        )

    # --- reading ------------------------------------------------------------------------------

    async def _read_kv(self, mount: Mount, request: ReadRequest) -> Reading:
        path = mount.rest(request.path)
        if mount.kv_version == 1:
            answer = await self._request(
                Priority.READ, "read", lambda client: client.read(f"{mount.path}/{path}")
            )
            found = kv1_reading(answer, self.name, request.path, self._digest_key)
            where = f"{mount.path}/{path}"
            return replace(found, envelope=sealed(answer, where, mount=mount.path, kv_version=1))
        answer = await self._request(
            Priority.READ,
            "read",
            lambda client: client.read_kv2(mount.path, path.removeprefix("data/"), request.version),
        )
        found = kv2_reading(answer, self.name, request.path)
        where = f"{mount.path}/data/{path.removeprefix('data/')}"
        return replace(found, envelope=sealed(answer, where, mount=mount.path, kv_version=2))

    async def _write(self, request: ReadRequest) -> Reading:
        data = request.data or {}
        return await self._plain(request.path, lambda client: client.write(request.path, data))

    async def _plain(self, path: str, send: Callable[[VaultClient], Awaitable[Answer]]) -> Reading:
        asked_at = self._clock.now()
        token = self.auth.token()
        with self.auth.using(token):
            answer = await self._request(Priority.READ, "read", send, token)
            key = self._digest_key
            result = reading(answer, self.name, path, asked_at=asked_at, parent=token.id, key=key)
            if result.lease is not None:
                token.leases.add(result.lease.id)
        return replace(result, envelope=sealed(answer, path))

    async def _ask_mount(self, path: str) -> Answer:
        try:
            return await self._request(
                Priority.READ, "preflight", lambda client: client.mount_of(path)
            )
        except Denied as error:
            reason = "no such mount, or the policy allows nothing below it (403)"
            raise Denied("preflight", self.name, error.path, reason) from None

    # --- every request ------------------------------------------------------------------------

    async def _request(
        self,
        priority: Priority,
        operation: str,
        send: Callable[[VaultClient], Awaitable[T]],
        token: Token | None = None,
    ) -> T:
        """Send with the current token; a 403 is told apart: dead token or denied path."""
        token = token or self.auth.token()
        sent_at = self._clock.now()
        with self.auth.using(token):
            try:
                answer = await self._paced(priority, operation, lambda: send(token.client))
            except Denied as error:
                if await self.auth.is_dead(token, sent_at):
                    reason = "the token is dead"
                    raise NotLoggedIn(operation, self.name, error.path, reason) from None
                raise
        token.has_served = True
        return answer

    async def _paced(
        self, priority: Priority, operation: str, send: Callable[[], Awaitable[T]]
    ) -> T:
        async with self._budget.slot(priority):
            if not self._availability.is_open:
                raise self._closed(operation)
            sent_at = self._clock.now()
            outcome = "cancelled"
            try:
                answer = await send()
            except Outage as error:
                outcome = error.kind
                error.is_store_wide = self._availability.failed(error, sent_at)
                raise
            except NotLoggedIn as error:  # a credential on disk, not an answer
                outcome = error.kind
                raise
            except StoreError as error:
                outcome = error.kind
                self._availability.succeeded()  # an answer, if not the one hoped for
                raise
            else:
                outcome = "ok"
                self._availability.succeeded()
                return answer
            finally:
                seconds = self._clock.now() - sent_at
                self._emit(
                    RequestDone(
                        store=self.name, operation=operation, seconds=seconds, outcome=outcome
                    )
                )

    def _closed(self, operation: str) -> Outage:
        error = self._availability.error
        kind = Sealed if isinstance(error, Sealed) else Outage
        return kind(operation, self.name, "", error.reason if error else "it can't be had")

    async def _probe(self) -> None:
        await self._anonymous.health()


async def open_store(
    name: str,
    spec: VaultStore,
    *,
    demand: Demand,
    clock: Clock,
    changes: FileChanges,
    emit: Emit,
) -> Vault:
    """A store that is ready to `run()`; ConfigurationError if its TLS files can't be used."""
    connection = await Connection.open(
        name,
        spec.address or "",
        tls=spec.tls,
        timeout=spec.timeout,
        concurrent=spec.budget.concurrent,
        namespace=spec.namespace,
    )
    budget = budget_for(spec.budget, demand, clock)
    draw = random()  # noqa: S311  # a lot, not a secret
    return Vault(
        name, spec, connection, budget=budget, clock=clock, changes=changes, emit=emit, draw=draw
    )
