"""One local door: lets callers in within limits, learns who they are, hands them to the protocol.

A caller is known before its first byte is read. Whoever is one too many of a user is closed at
once, at the price of an accept: no user can take the room of another.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import types
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from agent.api.access import Rules
from agent.api.caller import Caller
from agent.api.guests import Guest, Guests, Waiting, Watched
from agent.api.identity import knows_processes, user_of, who_is, with_hash
from agent.api.refusals import Refusals
from agent.api.sockets import ListeningSocket, name_of, open_socket
from agent.config.listener_model import AnyListener
from agent.core.clock import Clock
from agent.core.errors import AgentError
from agent.core.events import Advice, Emit, ListenerClosed, ListenerOpened

ACCEPTS_IN_A_ROW = 256
"""Then all else has its turn."""
PAUSE_SECONDS = 0.25
"""Before another accept where the system has no descriptors or memory left."""
GRACE_SECONDS = 5.0
SHORTAGE = (errno.EMFILE, errno.ENFILE)


class Doorway(Protocol):
    """Makes the protocol object of one more caller."""

    def __call__(self, caller: Caller) -> asyncio.Protocol: ...

    def close(self) -> None:
        """Nobody else comes: who waits for nothing goes now, the others with their answer."""


class Listener:
    """`run` lets callers in until it is cancelled, then gives answers under way `grace` seconds.

    `rules` is replaced as a whole by `reconfigure`: what somebody has derived from it holds for as
    long as it is the same object. `listening` is set once the socket is there.
    """

    def __init__(
        self,
        spec: AnyListener,
        rules: Rules,
        doorway: Doorway,
        *,
        clock: Clock,
        emit: Emit,
        grace: float = GRACE_SECONDS,
        turn_away: Callable[[socket.socket], None] = socket.socket.close,
    ) -> None:
        """`turn_away` ends a connection that the doorway has not had, and must not wait."""
        self.name = name_of(spec)
        self.rules = rules
        self.listening = asyncio.Event()
        self._spec, self._doorway = spec, doorway
        self._clock, self._emit, self._grace = clock, emit, grace
        self._turn_away = turn_away
        self._guests = Guests(spec.limits)
        self._waiting = Waiting()
        self._hashing: dict[int | None, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._refusals = Refusals(self.name, clock, emit)
        self._is_short = False
        self._kernel_knows_processes = True

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._guests)

    def reconfigure(self, spec: AnyListener, rules: Rules) -> None:
        """Go on with other rules and limits. Callers of whom more must be known have to return."""
        if rules.knows_hashes and spec.allow != self._spec.allow:
            self._drop_all()
        self.rules, self._spec = rules, spec
        self._guests.limits = spec.limits
        self._advise()

    async def run(self) -> None:
        """Never returns. AgentError: the socket can't be had."""
        opened = await asyncio.to_thread(open_socket, self._spec)
        try:
            await self._know_kernel()
            protocol = str(self._spec.__struct_config__.tag)
            self._emit(ListenerOpened(listener=self.name, protocol=protocol))
            self._advise()
            self.listening.set()
            async with asyncio.TaskGroup() as welcoming:
                welcoming.create_task(self._welcome(welcoming), name=f"{self.name} welcome")
                await self._let_in(opened.socket)
        finally:
            self.listening.clear()
            await self._close(opened)

    async def _know_kernel(self) -> None:
        try:
            self._kernel_knows_processes = await asyncio.to_thread(knows_processes)
        except OSError as error:  # no descriptors are left to look with
            reason = error.strerror or str(error)
            raise AgentError(f"can't listen at {self.name}: {reason}") from None

    def _advise(self) -> None:
        """Of rules that match nobody, whatever they say."""
        for each in self.rules.lacking:
            self._emit(
                Advice(subject=self.name, text=f"there is no {each}: its rule matches nobody")
            )
        if self.rules.knows_processes and not self._kernel_knows_processes:
            text = "this kernel tells only users and groups (Linux 6.5 tells more): rules by unit, "
            text += "executable, sha256, container and pod_uid match nobody"
            self._emit(Advice(subject=self.name, text=text))

    async def _let_in(self, listening: socket.socket) -> None:
        """As many at once as there are, within reason: one more refused costs next to nothing."""
        while True:
            await _readable(listening)
            for _ in range(ACCEPTS_IN_A_ROW):
                try:
                    connection, _ = listening.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    await self._pause(error)
                    break
                self._is_short = False
                self._admit(connection)

    async def _pause(self, error: OSError) -> None:
        self._tell_shortage(error)
        await self._clock.sleep(PAUSE_SECONDS)

    def _tell_shortage(self, error: OSError) -> None:
        if not self._is_short:
            self._is_short = True
            text = f"can't let callers in: {error.strerror or error}; trying again"
            self._emit(Advice(subject=self.name, text=text))

    def _admit(self, connection: socket.socket) -> None:
        try:
            uid = user_of(connection)
        except OSError:
            connection.close()
            return
        if (limit := self._guests.make_room(uid)) is not None:
            self._turn_away(connection)
            self._refusals.count(uid, limit)
            return
        connection.setblocking(False)
        guest = Guest(uid, connection)
        self._guests.add(guest)
        self._waiting.add(guest)

    async def _welcome(self, welcoming: asyncio.TaskGroup) -> None:
        """Learn who they are, some of each user together, as a thread's call costs more than that.

        However many wait of one user, another's first is among the next.
        """
        while True:
            await self._waiting.some.wait()
            guests = self._waiting.next()
            callers = await asyncio.to_thread(_who_are, [each.socket for each in guests])
            for guest, caller in zip(guests, callers, strict=True):
                if isinstance(caller, OSError):
                    self._let_go(guest, caller)
                else:
                    work = self._hand_over(guest, caller)
                    welcoming.create_task(work, name=f"{self.name} caller")

    async def _hand_over(self, guest: Guest, caller: Caller) -> None:
        try:
            if self.rules.wants_hash(caller):
                caller = await self._hashed(guest, caller)
            if not guest.is_dropped:
                protocol = Watched(self._doorway(caller), guest, self._guests)
                loop = asyncio.get_running_loop()
                await loop.connect_accepted_socket(lambda: protocol, guest.socket)
        except OSError as error:  # it has gone
            self._let_go(guest, error)
        finally:
            if guest.is_dropped or guest.transport is None:
                self._let_go(guest)

    async def _hashed(self, guest: Guest, caller: Caller) -> Caller:
        """One at a time of each user: large programs are to keep nobody else's threads busy."""
        async with self._hashing[guest.uid]:
            if guest.is_dropped:
                return caller
            return await asyncio.to_thread(with_hash, guest.socket, caller)

    def _let_go(self, guest: Guest, error: OSError | None = None) -> None:
        if error is not None and error.errno in SHORTAGE:
            self._tell_shortage(error)
        self._guests.remove(guest)
        guest.drop()
        if guest.transport is None:
            self._turn_away(guest.socket)

    async def _close(self, opened: ListeningSocket) -> None:
        """The name goes first, so that a successor may come; then those who are inside."""
        for guest in self._guests:
            if guest.transport is None:
                self._let_go(guest)
        await asyncio.to_thread(opened.close)
        self._doorway.close()
        await self._clock.wait(self._guests.none_left, self._clock.now() + self._grace)
        self._drop_all()
        await _turn()
        self._refusals.tell_rest()
        self._emit(ListenerClosed(listener=self.name))

    def _drop_all(self) -> None:
        for guest in self._guests:
            guest.drop()


def _who_are(connections: Sequence[socket.socket]) -> list[Caller | OSError]:
    """Each caller, or why one can't be known at all."""
    found: list[Caller | OSError] = []
    for connection in connections:
        try:
            found.append(who_is(connection))
        except OSError as error:
            found.append(error)
    return found


async def _readable(listening: socket.socket) -> None:
    """Return once somebody waits to be let in."""
    loop = asyncio.get_running_loop()
    somebody = asyncio.Event()
    loop.add_reader(listening, somebody.set)
    try:
        await somebody.wait()
    finally:
        loop.remove_reader(listening)


@types.coroutine
def _turn() -> Generator[None]:
    """Let everything else that is ready run once."""
    yield
