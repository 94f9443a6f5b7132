"""Bytes to requests, within limits. The parser is llhttp, strict about how messages end."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import httptools

from agent.api.caller import Caller
from agent.api.http.message import Request

MOST_TARGET = 8 * 1024
MOST_HEADER_BYTES = 32 * 1024
MOST_HEADERS = 100
_TOO_MANY = f"headers are at most {MOST_HEADERS}, {MOST_HEADER_BYTES} bytes"

SINGLE = frozenset({"host", "authorization", "content-type", "x-vault-token", "x-vault-namespace"})
"""Headers that decide something: two of them are refused, for others may take the other one."""

LIST, STAND_IN = b"LIST ", b"LINK "
"""llhttp does not know Vault's method: it passes under the name of one that nobody has here."""


class BadRequest(Exception):
    """What was sent can't be a request that is answered; the connection ends with `status`."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Parser:
    """Calls `taken` with each whole request. `is_amid`: part of one is here."""

    __slots__ = (
        "_body", "_caller", "_expects", "_header_bytes", "_headers", "_is_list", "_number",
        "_numbers", "_parser", "_prefix", "_refusal", "_silent", "_size", "_start", "_taken",
        "_target", "is_amid", "most_body",
    )  # fmt: skip

    def __init__(
        self, caller: Caller, taken: Callable[[Request], None], *, prefix: str, most_body: int
    ) -> None:
        """Requests are numbered after `prefix`."""
        self._caller, self._taken, self._prefix = caller, taken, prefix
        self.most_body = most_body
        self._parser = httptools.HttpRequestParser(self)
        self._numbers = count(1)
        self._start, self._silent = b"", 0
        self._is_list = self._expects = False
        self.is_amid = False
        self._refusal: BadRequest | None = None
        self._begin()

    def feed(self, data: bytes) -> None:
        """More bytes; BadRequest ends it."""
        if not self.is_amid:
            data = self._start + data
            self._start = b""
            if len(data) < len(LIST) and LIST.startswith(data):
                self._start = data  # to be told apart from LINK, which begins so, too
                return
            self._is_list = data.startswith(LIST)
            if self._is_list:
                data = STAND_IN + data[len(LIST) :]
        self._silent += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise self._refusal or BadRequest(400, "not a request") from None
        except httptools.HttpParserInvalidMethodError:
            raise BadRequest(501, "a method that is not known here") from None
        except httptools.HttpParserError:
            raise BadRequest(400, "not HTTP/1.1 as its grammar wants it") from None
        if self._silent > MOST_HEADER_BYTES:
            # The parser tells of a header once it is whole: one without an end it would keep.
            raise BadRequest(431, _TOO_MANY)

    def wants_continue(self) -> bool:
        """Whether the client waits for a word before it sends its body; once."""
        expects, self._expects = self._expects, False
        return expects

    # --- what llhttp finds --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._silent = 0
        self._begin()
        self.is_amid = True

    def on_url(self, url: bytes) -> None:
        self._silent = 0
        self._target += url
        if len(self._target) > MOST_TARGET:
            self._refuse(414, f"the target has at most {MOST_TARGET} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._silent = 0
        self._header_bytes += len(name) + len(value) + 4
        self._number += 1
        if self._header_bytes > MOST_HEADER_BYTES or self._number > MOST_HEADERS:
            self._refuse(431, _TOO_MANY)
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        if key in self._headers:
            if key in SINGLE:
                self._refuse(400, f"{key} is there twice")
            text = f"{self._headers[key]}, {text}"
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        if self._parser.get_http_version() not in ("1.0", "1.1"):
            self._refuse(505, "HTTP/1.1 is spoken here")
        if self._parser.should_upgrade():
            self._refuse(501, "no other protocol is spoken here")
        if self._headers.get("content-length", "0").isdecimal():
            self._check_size(int(self._headers.get("content-length", "0")))
        self._expects = self._headers.get("expect", "").lower() == "100-continue"

    def on_body(self, data: bytes) -> None:
        self._silent = 0
        self._size += len(data)
        self._check_size(self._size)
        self._body.append(data)

    def on_message_complete(self) -> None:
        self.is_amid = self._expects = False
        self._silent = 0
        path, _, query = self._target.partition(b"?")
        method = "LIST" if self._is_list else self._parser.get_method().decode("latin-1")
        if method == "LINK":
            self._refuse(501, "a method that is not known here")
        self._is_list = False
        request = Request(
            method,
            path.decode("latin-1"),
            query.decode("latin-1"),
            headers=self._headers,
            body=b"".join(self._body),
            caller=self._caller,
            id=f"{self._prefix}{next(self._numbers):06x}",
            is_last=not self._parser.should_keep_alive(),
        )
        self._taken(request)

    # --- inside -------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._number = self._header_bytes = self._size = 0
        self._body: list[bytes] = []

    def _check_size(self, size: int) -> None:
        if size > self.most_body:
            self._refuse(413, f"a body here has at most {self.most_body} bytes")

    def _refuse(self, status: int, detail: str) -> None:
        self._refusal = BadRequest(status, detail)
        raise self._refusal
