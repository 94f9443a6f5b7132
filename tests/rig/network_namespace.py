"""Sockets in the network namespace of another process, held by this one."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from http.client import HTTPConnection, HTTPException
from pathlib import Path

CLONE_NEWNET = 0x40000000
SECONDS = 30.0


def socket_within(pid: int) -> socket.socket:
    """A TCP socket that lives where the process `pid` does; root's alone."""
    made: list[socket.socket] = []

    def make() -> None:
        # A thread enters by itself, and takes the namespace with it when it ends.
        with Path(f"/proc/{pid}/ns/net").open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        made.append(socket.socket())

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    (there,) = made
    return there


def listening_within(pid: int, port: int) -> socket.socket:
    """On loopback there."""
    there = socket_within(pid)
    there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    there.bind(("127.0.0.1", port))
    there.listen()
    return there


def asked_within(pid: int, port: int, path: str) -> tuple[int, bytes]:
    """Status and body of one HTTP request there; status 0 where nobody answers. Blocks."""
    connection = HTTPConnection("localhost")
    try:
        connection.sock = socket_within(pid)
        connection.sock.settimeout(SECONDS)
        connection.sock.connect(("127.0.0.1", port))
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException):
        return 0, b""
    finally:
        connection.close()
