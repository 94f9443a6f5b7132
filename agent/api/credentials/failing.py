"""How a unit is made to fail: the answer that systemd refuses."""

from __future__ import annotations

import asyncio
import socket

from agent.api.credentials.content import LIMIT

TOO_MUCH = bytes(LIMIT + 1)
"""Zeros, which cost no memory until they are sent."""


class TurnedAway:
    """Sends it on a connection that nobody has taken up, without a task: also amid an end."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket, self._left = connection, memoryview(TOO_MUCH)
        self._loop = asyncio.get_running_loop()
        self._loop.add_writer(connection, self._send)

    def _send(self) -> None:
        try:
            sent = self._socket.send(self._left)
        except BlockingIOError:
            return
        except OSError:  # it has gone
            sent = len(self._left)
        self._left = self._left[sent:]
        if not self._left:
            self._loop.remove_writer(self._socket)
            self._socket.close()
