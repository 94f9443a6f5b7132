"""Doors where something may be asked for, not only looked at: POST with a small JSON object.

They are open to processes of this host only. The content type must be JSON's, which a web page in a
browser on this host can't send to us. Problems are problem+json (RFC 9457).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from aiohttp import web

MOST_BODY = 64 * 1024
BODY_SECONDS = 5.0
JSON = "application/json"
NOT_LOCAL = "only on a loopback address or a UNIX socket: others could act on your apps"

Wish = TypeVar("Wish", bound=msgspec.Struct)


class Refused(Exception):
    """Status and detail of a problem."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Door(ABC, Generic[Wish]):
    """Answers requests; `is_open` is False where others than local processes can connect.

    `wish` is what a body is decoded to, `form` says it in words.
    """

    wish: type[Wish]
    form: ClassVar[str]

    def __init__(self) -> None:
        self.is_open = True

    @abstractmethod
    async def fulfil(self, wish: Wish) -> tuple[HTTPStatus, object]:
        """Status and content of the answer; raises Refused."""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        try:
            status, content = await self.fulfil(await self._wish(request))
        except Refused as refused:
            return _problem(refused)
        return _response(status, content, JSON)

    async def _wish(self, request: web.BaseRequest) -> Wish:
        if request.method != "POST":
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "POST")
        body = await _body(request)  # before any refusal, or who is still sending would miss it
        if not self.is_open:
            raise Refused(HTTPStatus.FORBIDDEN, NOT_LOCAL)
        if request.content_type != JSON:
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body must be {JSON}")
        try:
            return msgspec.json.decode(body, type=self.wish)
        except msgspec.MsgspecError:
            raise Refused(HTTPStatus.BAD_REQUEST, f"the body must be {self.form}") from None


async def _body(request: web.BaseRequest) -> bytes:
    """The whole body, if it is small and comes in time."""
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                content += chunk
                if len(content) > MOST_BODY:
                    limit = f"the body must have at most {MOST_BODY} bytes"
                    raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit)
    except TimeoutError:
        limit = f"the body must be here within {BODY_SECONDS:g} s"
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, limit) from None
    return bytes(content)


def _problem(refused: Refused) -> web.Response:
    content = {
        "type": "about:blank",
        "title": refused.status.phrase,
        "status": refused.status.value,
        "detail": refused.detail,
    }
    response = _response(refused.status, content, "application/problem+json")
    if refused.status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = "POST"
    if refused.status != HTTPStatus.NOT_FOUND:
        response.force_close()  # there may be more of the body
    return response


def _response(status: HTTPStatus, content: object, content_type: str) -> web.Response:
    from aiohttp import web

    body = msgspec.json.encode(content) + b"\n"
    return web.Response(status=status, body=body, content_type=content_type)
