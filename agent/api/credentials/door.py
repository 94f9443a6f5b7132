"""Waits for the value, gives it, or makes the unit fail: never an empty credential."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast

from msgspec.structs import replace

from agent.api.access import Decision, Rules
from agent.api.caller import Caller
from agent.api.credentials.activations import Activations
from agent.api.credentials.content import NoContent, content
from agent.api.credentials.failing import TOO_MUCH, TurnedAway
from agent.api.credentials.peer import Peer, peer_of
from agent.api.identity import user_of
from agent.audit.record import Access, shortened
from agent.config.model import SecretEntry
from agent.core.clock import Clock
from agent.core.events import CredentialRefused, Emit, duration
from agent.core.secret import Reading
from agent.ledger import Ledger

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
Audit = Callable[["Visit", int, Callable[[bool], None]], None]
"""Writes down the visit's record with a status as HTTP has them, then says whether it could."""


class CredentialsDoor:
    """One listener's; makes a `Visit` for each connection. `timeout` may be replaced."""

    def __init__(
        self,
        name: str,
        ledger: Ledger,
        activations: Activations,
        *,
        rules: Callable[[], Rules],
        secrets: Callable[[], Mapping[str, SecretEntry]],
        timeout: float,
        clock: Clock,
        emit: Emit,
        spawn: Spawn,
        audit: Audit | None = None,
        answered: Counter[int] | None = None,
    ) -> None:
        """`audit` None: there is none. `answered`: counts answers by a status as HTTP has them."""
        self.name, self.ledger, self.activations = name, ledger, activations
        self.rules, self.secrets, self.timeout = rules, secrets, timeout
        self.clock, self.emit, self.spawn, self.audit = clock, emit, spawn, audit
        self.answered = Counter[int]() if answered is None else answered
        self._visits: set[Visit] = set()

    def __call__(self, caller: Caller) -> Visit:
        """The protocol of one more connection."""
        return Visit(self, caller)

    async def run(self) -> None:
        """Never returns."""
        await self.activations.run()

    def entered(self, visit: Visit) -> None:
        self._visits.add(visit)

    def left(self, visit: Visit) -> None:
        self._visits.discard(visit)

    def turn_away(self, connection: socket.socket) -> None:
        """One whom the listener has no room or no time for; one that is closed is no matter."""
        try:
            is_root = user_of(connection) == 0
        except OSError:
            is_root = False
        if is_root:
            TurnedAway(socket.socket(fileno=connection.detach()))
        else:
            connection.close()

    def close(self) -> None:
        """Whoever waits gets no value any more; a connection that just ended would be a value."""
        for visit in list(self._visits):
            visit.give_up("the agent stops")


class Visit(asyncio.Protocol):
    """One connection: one credential for one unit. `record` and `method` are for the audit."""

    method = None

    def __init__(self, door: CredentialsDoor, caller: Caller) -> None:
        self.caller, self.id = caller, secrets.token_hex(8)
        self.record: Access | None = None
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._peer: Peer | None = None
        self._decision = Decision(False)
        self._is_over = False

    # --- what the loop tells ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._door.entered(self)
        if self.caller.uid != 0:
            self._refuse(403, f"user {self.caller.uid} is not systemd")
            return
        self._peer = peer_of(transport.get_extra_info("peername"))
        if self._peer is None:
            self._refuse(400, "no unit's credential is asked for")
            return
        if self.caller.unit not in (None, self._peer.unit):
            self._refuse(403, f"it was {self.caller.unit} that asked")
            return
        self.caller = replace(self.caller, unit=self._peer.unit)
        self._task = self._door.spawn(self._serve(self._peer))

    def data_received(self, data: bytes) -> None:
        """systemd says nothing."""
        self._refuse(400, "it sent something, as systemd never does")

    def eof_received(self) -> bool:
        """systemd says so at once that it will say nothing."""
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over, self._transport = True, None
        self._door.left(self)
        if self._task is not None:
            self._task.cancel()

    # --- one credential -----------------------------------------------------------------------

    async def _serve(self, peer: Peer) -> None:
        self._decision = self._door.rules().decide_credential(self.caller, peer.credential)
        if not self._decision.is_allowed:
            self._refuse(403, "no rule allows it")
        elif peer.secret not in self._door.secrets():
            self._refuse(404, "there is no such secret")
        else:
            await self._door.activations.begin(peer.unit)
            reading = await self._reading(peer)
            self._give(peer, reading) if reading else self._not_in_time(peer)

    async def _reading(self, peer: Peer) -> Reading | None:
        """As soon as there is one; None at the deadline."""
        door, changed = self._door, asyncio.Event()
        deadline = door.clock.now() + door.timeout
        with door.ledger.subscribe((peer.secret,), changed):
            while True:
                changed.clear()
                entry = door.ledger.entry(peer.secret)
                reading = door.activations.reading(peer.unit, entry)
                if reading is not None or not await door.clock.wait(changed, deadline):
                    return reading

    def _give(self, peer: Peer, reading: Reading) -> None:
        try:
            found = content(reading.value, peer.field, peer.credential)
        except NoContent as error:
            self._refuse(404, str(error))
            return
        self._door.activations.give(peer.unit, self._door.ledger.entry(peer.secret), reading)
        self._audited(200, reading.version, lambda is_written: self._send(found, is_written))

    def _not_in_time(self, peer: Peer) -> None:
        entry = self._door.ledger.entry(peer.secret)
        why = entry.reason or "nothing has been read yet"
        self._refuse(503, f"not had within {duration(self._door.timeout)}: {why}")

    # --- the answer ---------------------------------------------------------------------------

    def _send(self, found: bytes, is_written: bool) -> None:
        if is_written:
            self._end(found)
        else:
            self._fail("the audit can't be written")

    def _refuse(self, status: int, reason: str) -> None:
        """Said, recorded, and the unit fails whether or not that could be written."""
        if not self._is_over:
            self._is_over = True
            self._tell(reason)
            self._audited(status, None, lambda _: self._end(TOO_MUCH))

    def give_up(self, reason: str) -> None:
        """At once; what is being sent goes on."""
        if self._transport is not None and not self._transport.is_closing():
            self._fail(reason)

    def _fail(self, reason: str) -> None:
        self._tell(reason)
        self._end(TOO_MUCH)

    def _end(self, answer: bytes) -> None:
        self._is_over = True
        if self._transport is not None and not self._transport.is_closing():
            # Nobody but systemd is owed anything.
            self._transport.write(answer if self.caller.uid == 0 else b"")
            self._transport.close()

    def _tell(self, reason: str) -> None:
        unit = "a caller" if self._peer is None else self._peer.unit
        credential = "anything" if self._peer is None else self._peer.credential
        self._door.emit(
            CredentialRefused(
                listener=self._door.name, unit=unit, credential=credential, reason=reason
            )
        )

    def _audited(self, status: int, version: str | None, done: Callable[[bool], None]) -> None:
        self._door.answered[status] += 1
        if self._door.audit is None:
            done(True)
            return
        peer = self._peer
        self.record = Access(
            self._door.name,
            secret=None if peer is None else shortened(peer.secret),
            field=None if peer is None else shortened(peer.field),
            version=version,
            decision="allowed" if self._decision.is_allowed else "denied",
            rule=self._decision.rule,
        )
        self._door.audit(self, status, done)
