"""What a client asks, and what it is answered. Nothing of a body or a header shows in a repr."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from http import HTTPStatus
from typing import Any, Protocol

import msgspec

from agent.api.caller import Caller

JSON = "application/json"
PROBLEM = "application/problem+json"

Headers = tuple[tuple[str, str], ...]

ALWAYS = b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"

NO_BODY = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Request:
    """One request. `path` is as it was sent (not decoded, without the query), and so is `query`.

    `headers` have lower-case names; repeated ones are joined by a comma. `record` is what the door
    wants written to the audit before its answer is sent.
    """

    __slots__ = (
        "body", "caller", "headers", "id", "is_last", "method", "path", "query", "record"
    )  # fmt: skip

    def __init__(
        self,
        method: str,
        path: str,
        query: str = "",
        *,
        headers: dict[str, str],
        body: bytes = b"",
        caller: Caller,
        id: str = "",
        is_last: bool = False,
    ) -> None:
        self.method, self.path, self.query = method, path, query
        self.headers, self.body, self.caller, self.id = headers, body, caller, id
        self.is_last = is_last
        self.record: Any = None

    def __repr__(self) -> str:
        return f"<Request {self.id} {self.method}>"


class Answer:
    """A whole answer. It may be kept and given again: it is encoded once."""

    __slots__ = ("_encoded", "body", "content_type", "headers", "status")

    def __init__(
        self,
        status: int = 200,
        body: bytes = b"",
        content_type: str = JSON,
        headers: Headers = (),
    ) -> None:
        self.status, self.body, self.content_type = status, body, content_type
        self.headers = headers
        self._encoded: bytes | None = None

    def encoded(self, *, is_head: bool = False, is_last: bool = False) -> bytes:
        """As it goes over the wire; `is_last`: the connection ends after it."""
        if is_head or is_last:
            return self._head(is_last=is_last) + (b"" if is_head else self.body)
        if self._encoded is None:
            self._encoded = self._head(is_last=False) + self.body
        return self._encoded

    def _head(self, *, is_last: bool) -> bytes:
        headers = self.headers
        if self.status not in NO_BODY:
            length = str(len(self.body))
            headers = (("Content-Type", self.content_type), ("Content-Length", length), *headers)
        return head(self.status, headers, is_last=is_last)

    def __repr__(self) -> str:
        return f"<Answer {self.status}, {len(self.body)} bytes>"


class Stream:
    """An answer that comes in pieces; the connection ends with it if the client can't chunk."""

    __slots__ = ("chunks", "headers", "status")

    def __init__(
        self, chunks: AsyncIterator[bytes], status: int = 200, headers: Headers = ()
    ) -> None:
        self.chunks, self.status, self.headers = chunks, status, headers

    async def close(self) -> None:
        """Nothing more of it is wanted, be it sent whole, in part or not at all."""
        close = getattr(self.chunks, "aclose", None)
        if close is not None:
            await close()


Reply = Answer | Stream


class Door(Protocol):
    """What answers requests; one for all connections of a listener."""

    most_body: int
    """Bytes that a request's body may have."""

    def answer(self, request: Request) -> Answer | Awaitable[Reply]:
        """At once where that can be, for no task is made then. Errors are the door's own to say."""


def head(status: int, headers: Headers, *, is_last: bool) -> bytes:
    """The status line and all headers, the empty line included.

    Headers of others may hold what Latin-1 can't say: a question mark then.
    """
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    end = b"Connection: close\r\n\r\n" if is_last else b"\r\n"
    line = f"HTTP/1.1 {status} {_phrase(status)}\r\n{lines}"
    return line.encode("latin-1", "replace") + ALWAYS + end


def problem(status: int, detail: str, *, headers: Headers = (), **more: object) -> Answer:
    """An RFC 9457 problem. `detail` is shown to the caller: nothing in it but what is theirs."""
    content = {"type": "about:blank", "title": _phrase(status), "status": status, "detail": detail}
    return Answer(status, msgspec.json.encode(content | more) + b"\n", PROBLEM, headers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # Vault's 472, 473
        return "Other"
