"""POST /refresh: fresh reads now, asked for by whoever rotated a secret at its origin.

The body is a JSON object, `{"secrets": ["database"]}`, or `{}` for all. It is answered with 202 and
the names: the reads are made when the watchers may, at most once a second for each secret, within
the store's budget. Errors are problem+json (RFC 9457). The content type must be JSON's, which a web
page in a browser on this host can't send to us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from aiohttp import web

MOST_BODY = 64 * 1024
BODY_SECONDS = 5.0
JSON = "application/json"
NOT_LOCAL = "only on a loopback address or a UNIX socket: others could have credentials replaced"


class Asked(NamedTuple):
    """The secrets that will be read again; or the names that are unknown, and nothing is."""

    secrets: list[str]
    unknown: list[str]


Refresh = Callable[[Collection[str] | None], Asked]
"""Names, or None for all."""


def nobody_asked(names: Collection[str] | None) -> Asked:
    """A `Refresh` for an agent that watches nothing."""
    return Asked([], sorted(names or ()))


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request."""

    secrets: list[str] | None = None


class Refused(Exception):
    """Status and detail of a problem."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class RefreshDoor:
    """Answers requests; `is_open` is False where others than local processes can connect."""

    def __init__(self, refresh: Refresh) -> None:
        self.is_open = True
        self._refresh = refresh

    async def answer(self, request: web.BaseRequest) -> web.Response:
        try:
            asked = self._refresh((await self._wish(request)).secrets)
            if asked.unknown:
                raise Refused(404, f"no secret of this name: {', '.join(asked.unknown)}")
        except Refused as refused:
            return _problem(refused)
        return _response(202, {"asked": asked.secrets}, JSON)

    async def _wish(self, request: web.BaseRequest) -> Wish:
        if request.method != "POST":
            raise Refused(405, "POST")
        body = await _body(request)  # before any refusal, or who is still sending would miss it
        if not self.is_open:
            raise Refused(403, NOT_LOCAL)
        if request.content_type != JSON:
            raise Refused(415, f"the body must be {JSON}")
        try:
            return msgspec.json.decode(body, type=Wish)
        except msgspec.MsgspecError:
            raise Refused(400, 'the body must be {"secrets": [NAME, …]}, or {} for all') from None


async def _body(request: web.BaseRequest) -> bytes:
    """The whole body, if it is small and comes in time."""
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                content += chunk
                if len(content) > MOST_BODY:
                    raise Refused(413, f"the body must have at most {MOST_BODY} bytes")
    except TimeoutError:
        raise Refused(408, f"the body must be here within {BODY_SECONDS:g} s") from None
    return bytes(content)


def _problem(refused: Refused) -> web.Response:
    from http import HTTPStatus

    status = HTTPStatus(refused.status)
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": refused.status,
        "detail": refused.detail,
    }
    response = _response(refused.status, content, "application/problem+json")
    if refused.status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = "POST"
    if refused.status != HTTPStatus.NOT_FOUND:
        response.force_close()  # there may be more of the body
    return response


def _response(status: int, content: object, content_type: str) -> web.Response:
    from aiohttp import web

    body = msgspec.json.encode(content) + b"\n"
    return web.Response(status=status, body=body, content_type=content_type)
