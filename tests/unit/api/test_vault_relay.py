"""Long answers that are passed on: one user takes only so many at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import cast

import pytest

from agent.api.caller import Caller
from agent.api.http import Request, Stream
from agent.api.vault.asking import asked
from agent.api.vault.relay import MOST_STREAMS_OF_ONE_USER, Relay, Upstream
from agent.api.vault.words import Refused

ONE, OTHER = Caller(uid=1001), Caller(uid=1002)


class Long:
    """An answer in pieces, of which there are always more; `closed` counts those given up."""

    status, headers, is_small = 200, (), False
    closed = 0

    async def whole(self) -> bytes:
        raise AssertionError("it is long")

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return b"more"

    async def aclose(self) -> None:
        Long.closed += 1


class LongWinded:
    """A vault whose answers are all long."""

    namespace = ""

    async def as_it_is(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        is_urgent: bool = False,
    ) -> Long:
        return Long()


async def ask(relay: Relay, caller: Caller) -> Stream:
    request = Request("GET", "/v1/x/y", headers={"x-vault-token": "t"}, caller=caller, id="1")
    vault = cast(Upstream, LongWinded())
    reply = await relay.with_their_token(vault, asked(request), request)
    assert isinstance(reply, Stream)
    return reply


async def test_a_user_takes_only_so_many_long_answers_at_a_time() -> None:
    relay, before = Relay(), Long.closed
    taken = [await ask(relay, ONE) for _ in range(MOST_STREAMS_OF_ONE_USER)]
    with pytest.raises(Refused) as refused:
        await ask(relay, ONE)
    assert refused.value.answer().status == 429
    assert Long.closed == before + 1, "its place upstream is given back"
    await (await ask(relay, OTHER)).close()
    assert await anext(taken[0].chunks) == b"more"
    await taken[0].close()
    await taken[0].close()
    await (await ask(relay, ONE)).close()
    await (await ask(relay, ONE)).close()
