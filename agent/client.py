"""Secrets from the agent on this host, for apps. Needs nothing but Python: copy this one file.

    client = Client()
    password = client.field("database", "password")
    for secret in client.watch("database"):  # now, and with each change
        pool.connect_with(**secret.value)

`AsyncClient` is the same with `await` and `async for`. The socket is the one given, else that of
LEASEHOLD_SOCKET, else DEFAULT_SOCKET; `@NAME` is an abstract one. Each question is a connection of
its own: one client serves many threads, and the children of a fork. What fails is a `ClientError`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import socket
import time  # noqa: TID251  # an app has no clock of ours
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

DEFAULT_SOCKET = "/run/leasehold/secrets.sock"
ANSWER_SECONDS = 10.0
HELD_SECONDS = 60
"""How long the agent holds a question until there is something new."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0
MOST_BYTES = 64 * 1024 * 1024
NOT_MODIFIED = 304
SECRETS, BUNDLES = "/v1/secrets", "/v1/bundles"


class ClientError(Exception):
    """The agent did not do what it was asked. The text is its own, and has no value in it."""

    retry_after = 0.0


class Unreachable(ClientError):
    """There is no agent at the socket, it may not be used, or no whole answer came in time."""


class Denied(ClientError):
    """No rule lets this process have it, or there is no such thing: the agent does not say."""


class NotThere(ClientError):
    """The secret has no such field."""


class WrongGeneration(ClientError):
    """It is not this generation of the bundle that waits for its app's word."""


class NotYet(ClientError):
    """The agent has nothing that works now; ask again after `retry_after` seconds."""


KINDS = {403: Denied, 404: NotThere, 409: WrongGeneration, 429: NotYet, 503: NotYet}


@dataclass(frozen=True)
class Secret:
    """One value. `stale`: it could not be proven lately. `expires_at`, `read_at`: RFC 3339."""

    name: str
    version: str
    value: dict[str, Any] = field(repr=False)
    expires_at: str | None = None
    stale: bool = False
    read_at: str | None = None
    etag: str | None = field(default=None, repr=False, compare=False)


class _Place:
    """Where the agent is asked; no answer may take longer than `timeout` seconds to go on."""

    def __init__(self, socket: str | None = None, timeout: float = ANSWER_SECONDS) -> None:
        self.socket = socket or os.environ.get("LEASEHOLD_SOCKET") or DEFAULT_SOCKET
        self.timeout = timeout

    def _address(self) -> str:
        return f"\0{self.socket[1:]}" if self.socket.startswith("@") else self.socket


class Client(_Place):
    """Asks, and waits for the answer."""

    def names(self) -> list[str]:
        """The secrets that this process may read."""
        return self._ask(SECRETS).names()

    def get(self, name: str) -> Secret:
        """The secret as the agent has it now."""
        return self._ask(_path(SECRETS, name)).secret()

    def field(self, name: str, field: str) -> bytes:
        """One field, as bytes."""
        return self._ask(_path(SECRETS, name, field)).body

    def watch(self, name: str) -> Iterator[Secret]:
        """The secret now, and again whenever it has another value; never ends by itself.

        Waits for an agent that is not there, and for a value that it has not; raises `Denied`.
        """
        watch = _Watch(_path(SECRETS, name))
        while True:
            try:
                secret = watch.news(self._ask(*watch.question()))
            except (NotYet, Unreachable) as error:
                time.sleep(watch.pause(error))
            else:
                if secret is not None:
                    yield secret

    def refused(self, name: str, version: str) -> None:
        """Say that this version does not work: the agent proves it, or has another one made."""
        self._ask(_path(SECRETS, name, "refused"), word={"version": version})

    def confirm(self, bundle: str, generation: int, error: str | None = None) -> None:
        """Say that the app works with this generation of its files; with `error`: it does not."""
        self._ask(_path(BUNDLES, bundle, "confirm"), word=_word(generation, error))

    def _ask(self, path: str, etag: str | None = None, held: float = 0, word: Any = None) -> Answer:
        said = bytearray()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
                door.settimeout(self.timeout + held)
                door.connect(self._address())
                door.sendall(_request(path, etag, word))
                while len(said) <= MOST_BYTES and (more := door.recv(65536)):
                    said += more
        except OSError as error:
            raise _unreachable(self.socket, error) from None
        return _answer(bytes(said))


class AsyncClient(_Place):
    """`Client` for coroutines."""

    async def names(self) -> list[str]:
        return (await self._ask(SECRETS)).names()

    async def get(self, name: str) -> Secret:
        return (await self._ask(_path(SECRETS, name))).secret()

    async def field(self, name: str, field: str) -> bytes:
        return (await self._ask(_path(SECRETS, name, field))).body

    async def watch(self, name: str) -> AsyncIterator[Secret]:
        watch = _Watch(_path(SECRETS, name))
        while True:
            try:
                secret = watch.news(await self._ask(*watch.question()))
            except (NotYet, Unreachable) as error:
                await asyncio.sleep(watch.pause(error))  # noqa: TID251  # nor here
            else:
                if secret is not None:
                    yield secret

    async def refused(self, name: str, version: str) -> None:
        await self._ask(_path(SECRETS, name, "refused"), word={"version": version})

    async def confirm(self, bundle: str, generation: int, error: str | None = None) -> None:
        await self._ask(_path(BUNDLES, bundle, "confirm"), word=_word(generation, error))

    async def _ask(
        self, path: str, etag: str | None = None, held: float = 0, word: Any = None
    ) -> Answer:
        loop, said = asyncio.get_running_loop(), bytearray()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
                door.setblocking(False)
                async with asyncio.timeout(self.timeout + held):
                    await loop.sock_connect(door, self._address())
                    await loop.sock_sendall(door, _request(path, etag, word))
                    while len(said) <= MOST_BYTES and (more := await loop.sock_recv(door, 65536)):
                        said += more
        except OSError as error:
            raise _unreachable(self.socket, error) from None
        return _answer(bytes(said))


# --- what is asked, and what is made of the answer ------------------------------------------------


class _Watch:
    """What to ask next, what is new in the answer, and how long to rest after a failure."""

    def __init__(self, path: str) -> None:
        self._path, self._failures = path, 0
        self._known: Secret | None = None

    def question(self) -> tuple[str, str | None, float]:
        if self._known is None or self._known.etag is None:
            return self._path, None, 0
        return f"{self._path}?wait={HELD_SECONDS}s", self._known.etag, HELD_SECONDS

    def news(self, answer: Answer) -> Secret | None:
        """The secret if it has another value; NotYet makes those rest who learn nothing new."""
        secret, before = None, self._known
        if answer.status != NOT_MODIFIED:
            secret = self._known = answer.secret()
            if before and (before.version, before.value) == (secret.version, secret.value):
                raise NotYet("it is the value that is known")
        self._failures = 0
        return secret

    def pause(self, error: ClientError) -> float:
        """Seconds: a backoff with jitter, after what the agent has asked for."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return error.retry_after + longest * random.uniform(0.5, 1.0)  # noqa: S311  # no secret


class Answer(NamedTuple):
    """What the agent said, and no error."""

    status: int
    etag: str | None
    body: bytes

    def names(self) -> list[str]:
        with _understood():
            return [each["name"] for each in json.loads(self.body)["secrets"]]

    def secret(self) -> Secret:
        """Fields that `encoding` names are bytes."""
        with _understood():
            said = json.loads(self.body)
            for name in said.get("encoding", ()):
                said["value"][name] = base64.b64decode(said["value"][name])
            return Secret(**{each: said[each] for each in SHOWN}, etag=self.etag)


SHOWN = ("name", "version", "value", "expires_at", "stale", "read_at")


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Unreachable("what answers is no agent") from None


def _request(path: str, etag: str | None, word: Any) -> bytes:
    method = "GET" if word is None else "POST"
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    if etag is not None:
        lines.append(f"If-None-Match: {etag}")
    body = b"" if word is None else json.dumps(word).encode()
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _path(place: str, *steps: str) -> str:
    return "/".join([place, *(quote(each, safe="") for each in steps)])


def _word(generation: int, error: str | None) -> dict[str, Any]:
    return {"generation": generation} | ({} if error is None else {"error": error})


def _answer(said: bytes) -> Answer:
    """What was answered; ClientError if that is an error, or no whole answer."""
    head, end, body = said.partition(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    status = start[9:12] if start.startswith("HTTP/1.1 ") else ""
    if not end or not status.isdecimal() or headers.get("content-length", "0") != str(len(body)):
        raise Unreachable("no whole answer came from the agent")
    answer = Answer(int(status), headers.get("etag"), body)
    if answer.status < 300 or answer.status == NOT_MODIFIED:
        return answer
    error = KINDS.get(answer.status, ClientError)(_detail(answer))
    retry_after = headers.get("retry-after", "")
    error.retry_after = float(retry_after) if retry_after.isdecimal() else 0.0
    raise error


def _detail(answer: Answer) -> str:
    """The problem's own words (RFC 9457)."""
    try:
        return str(json.loads(answer.body)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the agent answered {answer.status}"


def _unreachable(place: str, error: OSError) -> Unreachable:
    if isinstance(error, TimeoutError):
        return Unreachable(f"the agent at {place} does not answer")
    if isinstance(error, (ConnectionRefusedError, FileNotFoundError)):
        return Unreachable(f"nobody listens at {place}; is the agent running?")
    return Unreachable(f"can't ask the agent at {place}: {error.strerror or error}")
