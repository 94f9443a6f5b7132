"""A real Redis as its own user, and clients that speak just enough of its protocol."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.rig.needs import needs_program, needs_root
from tests.rig.processes import Daemon, free_port, running

USER = "redis"


class Redis:
    """`settings` are lines of redis.conf; its socket is where they say."""

    def __init__(self, folder: Path, settings: str) -> None:
        needs_root()
        self._program = needs_program("redis-server")
        needs_program("redis-cli")
        self.port, self._folder = free_port(), folder
        folder.mkdir()
        shutil.chown(folder, USER, USER)
        own = f"bind 127.0.0.1\nport {self.port}\ndir {folder}\nsave ''\n"
        (folder / "redis.conf").write_text(own + settings)

    def running(self) -> AbstractAsyncContextManager[None]:
        return running(self._start, signal.SIGTERM)

    def _start(self) -> Daemon:
        as_user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups"]
        command = [*as_user, self._program, str(self._folder / "redis.conf")]
        daemon = Daemon(command, {"PATH": os.environ["PATH"]})
        daemon.wait_for_line("Ready to accept connections", within=60)
        daemon.wait_for_line("accept connections at /", within=60)
        return daemon


class Refused(Exception):
    """An error for an answer."""


class Connection:
    """Logged in; Refused where Redis refuses."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._answers = self._socket.makefile("rb")
        try:
            self.ask("AUTH", user, password)
        except Refused:
            self.close()
            raise

    def ask(self, *words: str) -> bytes:
        """A command whose answer is one line, or a string."""
        parts = [b"*%d\r\n" % len(words)]
        parts += [b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words]
        self._socket.sendall(b"".join(parts))
        line = self._answers.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed without an answer")
        if line.startswith(b"-"):
            raise Refused(line[1:].split()[0].decode())
        if line.startswith(b"$") and (length := int(line[1:])) >= 0:
            return self._answers.read(length + 2)[:-2]
        return line[1:-2]

    def close(self) -> None:
        self._answers.close()
        self._socket.close()


class App:
    """Logs in with what its file holds at that moment."""

    def __init__(self, port: int, user: str, file: Path) -> None:
        self._connect: Callable[[], Connection] = lambda: Connection(port, user, file.read_text())
        self._kept: Connection | None = None
        self.connections = 0

    def kept(self) -> None:
        """A command on the connection that was there before."""
        if self._kept is None:
            self._kept = self._connected()
        self._kept.ask("INCR", "app:kept")

    def new(self) -> None:
        """A connection, and a command on it."""
        connection = self._connected()
        try:
            connection.ask("INCR", "app:new")
        finally:
            connection.close()

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()

    def _connected(self) -> Connection:
        self.connections += 1
        return self._connect()
