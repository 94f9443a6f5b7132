"""The proxy relays what it is not told to break, and breaks just that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.rig import faults
from tests.rig.bao_client import Bao
from tests.rig.proxy import Proxy, path


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session:
        yield session


async def read(session: aiohttp.ClientSession, proxy: Proxy, bao: Bao, where: str) -> str:
    url = f"{proxy.address}/v1/{where}"
    async with session.get(url, headers={"X-Vault-Token": bao.token}) as answer:
        return f"{answer.status} {await answer.text()}"


async def test_it_relays_and_writes_down(
    session: aiohttp.ClientSession, proxy: Proxy, bao: Bao
) -> None:
    kv = bao.kv()
    kv.put("app", password="x" * 100_000)
    for _ in range(3):
        assert "x" * 100_000 in await read(session, proxy, bao, kv.api("app"))
    assert [(seen.method, seen.status) for seen in proxy.requests(kv.api(""))] == [("GET", 200)] * 3
    assert (proxy.connections, proxy.most_connections) == (1, 1)


async def test_faults_meet_only_what_they_are_for(
    session: aiohttp.ClientSession, proxy: Proxy, bao: Bao
) -> None:
    kv = bao.kv()
    kv.put("app", a="1")
    kv.put("other", a="1")
    with proxy.faulty(faults.DENIED, path(kv.api("other"))):
        assert (await read(session, proxy, bao, kv.api("other"))).startswith("403")
        assert (await read(session, proxy, bao, kv.api("app"))).startswith("200")
    assert (await read(session, proxy, bao, kv.api("other"))).startswith("200")
    proxy.fault(faults.rate_limited(7), times=1)
    assert (await read(session, proxy, bao, kv.api("app"))).startswith("429")
    assert (await read(session, proxy, bao, kv.api("app"))).startswith("200")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.Reset(), aiohttp.ClientOSError),
        (faults.Reset(is_asked=False), aiohttp.ClientOSError),
        (faults.Reset(body_bytes=5), aiohttp.ClientError),
        (faults.Cut(), aiohttp.ClientPayloadError),
    ],
)
async def test_connections_break(
    session: aiohttp.ClientSession,
    proxy: Proxy,
    bao: Bao,
    fault: faults.Fault,
    error: type[Exception],
) -> None:
    kv = bao.kv()
    kv.put("app", a="1")
    with proxy.faulty(fault), pytest.raises(error):
        # A POST, because aiohttp asks again by itself where a GET on a kept connection is reset.
        async with session.post(
            f"{proxy.address}/v1/{kv.api('app')}",
            json={"data": {"a": "2"}},
            headers={"X-Vault-Token": bao.token},
        ) as answer:
            await answer.read()
    assert (await read(session, proxy, bao, kv.api("app"))).startswith("200")


async def test_hanging_and_delaying(session: aiohttp.ClientSession, proxy: Proxy, bao: Bao) -> None:
    lift = proxy.fault(faults.Hang())
    waiting = asyncio.ensure_future(read(session, proxy, bao, "sys/health"))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    lift()
    assert (await waiting).startswith("200")
    loop = asyncio.get_running_loop()
    before = loop.time()
    proxy.fault(faults.Delay(0.1))
    await read(session, proxy, bao, "sys/health")
    assert loop.time() - before >= 0.1


async def test_refusing_and_coming_back_on_the_same_port(
    session: aiohttp.ClientSession, proxy: Proxy, bao: Bao
) -> None:
    await read(session, proxy, bao, "sys/health")
    await proxy.refuse()
    with pytest.raises(aiohttp.ClientConnectorError):
        await read(session, proxy, bao, "sys/health")
    await proxy.start()
    assert (await read(session, proxy, bao, "sys/health")).startswith("200")
