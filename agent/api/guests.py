"""Who is connected to one listener, whose turn it is, and who has to go where there is no room."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterator
from typing import Any, cast

from agent.config.listener_model import Limits

OF_EACH_USER = 8


class Guest:
    """One connection: first a socket, then a transport."""

    __slots__ = ("is_dropped", "socket", "transport", "uid")

    def __init__(self, uid: int | None, connection: socket.socket) -> None:
        self.uid = uid
        self.socket = connection
        self.transport: asyncio.Transport | None = None
        self.is_dropped = False

    def drop(self) -> None:
        """End the connection at once; one that is not handed over yet is closed by who has it."""
        self.is_dropped = True
        if self.transport is not None:
            self.transport.abort()


class Guests:
    """Room by user: `make_room` before `add`. `none_left` is set while there is nobody."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.none_left = asyncio.Event()
        self.none_left.set()
        self._by_user: dict[int | None, dict[Guest, None]] = {}
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[Guest]:
        return iter([guest for guests in self._by_user.values() for guest in guests])

    def make_room(self, uid: int | None) -> str | None:
        """The limit that keeps one more of this user out, or None.

        Where all is full, who has the most loses the oldest, but to nobody who has as many.
        """
        own = len(self._by_user.get(uid, ()))
        if uid is not None and own >= self.limits.per_user:
            return "per_user"
        if self._number < self.limits.connections:
            return None
        greediest = max(self._by_user.values(), key=len)
        if len(greediest) <= own + 1:
            return "connections"
        oldest = next(iter(greediest))
        self.remove(oldest)
        oldest.drop()
        return None

    def add(self, guest: Guest) -> None:
        self._by_user.setdefault(guest.uid, {})[guest] = None
        self._number += 1
        self.none_left.clear()

    def remove(self, guest: Guest) -> None:
        """Idempotent."""
        own = self._by_user.get(guest.uid, {})
        if guest not in own:
            return
        del own[guest]
        self._number -= 1
        if not own:
            del self._by_user[guest.uid]
        if not self._number:
            self.none_left.set()


class Waiting:
    """Guests of whom nothing but the user is known yet; `some` is set while there are any."""

    def __init__(self) -> None:
        self.some = asyncio.Event()
        self._by_user: dict[int | None, deque[Guest]] = {}

    def add(self, guest: Guest) -> None:
        self._by_user.setdefault(guest.uid, deque()).append(guest)
        self.some.set()

    def next(self) -> list[Guest]:
        """The longest waiting of every user, OF_EACH_USER at most."""
        found: list[Guest] = []
        for uid, guests in list(self._by_user.items()):
            found += [guests.popleft() for _ in range(min(OF_EACH_USER, len(guests)))]
            if not guests:
                del self._by_user[uid]
        if not self._by_user:
            self.some.clear()
        return found


class Watched(asyncio.Protocol):
    """A protocol, and word of its end.

    What a transport calls often are the inner one's own methods, so that watching costs nothing.
    """

    __slots__ = (
        "_guest", "_guests", "_inner", "data_received", "eof_received", "pause_writing",
        "resume_writing",
    )  # fmt: skip

    def __init__(self, inner: asyncio.Protocol, guest: Guest, guests: Guests) -> None:
        self._inner, self._guest, self._guests = inner, guest, guests
        mine: Any = self
        mine.data_received, mine.eof_received = inner.data_received, inner.eof_received
        mine.pause_writing, mine.resume_writing = inner.pause_writing, inner.resume_writing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._guest.transport = cast(asyncio.Transport, transport)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guests.remove(self._guest)
        self._guest.transport = None
        self._inner.connection_lost(exc)
