"""Our client, at the real secrets API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.client import Denied, NotThere, NotYet, WrongGeneration
from tests.rig.clients import asking
from tests.rig.secrets_site import SecretsSite, served


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[SecretsSite]:
    async with served(tmp_path / "door.sock") as site:
        yield site


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return asking(request.param, str(tmp_path / "door.sock"))


async def test_an_app_reads_what_is_its_own(site: SecretsSite, client: Any) -> None:
    assert await client.names() == ["database", "web", "webhook"]
    secret = await client.get("database")
    assert secret.value == {"password": "s3same", "key": b"\x00\xff", "port": 5432}
    assert (secret.version, secret.stale, secret.expires_at) == ("3", False, None)
    assert await client.field("database", "key") == b"\x00\xff"


async def test_refusals_are_told_apart_only_where_they_may_be(
    site: SecretsSite, client: Any
) -> None:
    said = set()
    for name in ("other", "nothing", "..", "database/password"):
        with pytest.raises(Denied) as raised:
            await client.get(name)
        said.add(str(raised.value))
    assert len(said) == 1
    with pytest.raises(NotThere):
        await client.field("database", "nothing")
    with pytest.raises(NotYet) as late:
        await client.get("web")
    assert late.value.retry_after >= 1


async def test_what_an_app_says_arrives(site: SecretsSite, client: Any) -> None:
    await client.refused("database", "3")
    await client.confirm("app", 7)
    await client.confirm("app", 7, "no connection")
    assert site.refused == [("database", "3")]
    assert site.bundles.said == [("app", 7, None), ("app", 7, "no connection")]
    with pytest.raises(WrongGeneration):
        await client.confirm("app", 8)
    with pytest.raises(Denied):
        await client.confirm("extra", 3)


async def test_watching_goes_on_over_a_restart(tmp_path: Path, client: Any) -> None:
    place = tmp_path / "door.sock"
    watching = client.watch("database")
    async with asyncio.timeout(30):
        async with served(place) as site:
            assert (await anext(watching)).version == "3"
            site.put("database", "4", password="new")
            assert (await anext(watching)).value == {"password": "new"}
        place.unlink(missing_ok=True)
        async with served(place) as site:
            for version in ("4", "5"):  # an entity tag of its own: this is no other process
                site.put("database", version, password="newest")
            assert (await anext(watching)).version == "5"
            site.put("database", "6", password="last")
            assert (await anext(watching)).version == "6"
    await watching.aclose()
