"""The agent starts while the vault is gone, with what the run before has sealed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.rig import faults
from tests.rig.agent import Start
from tests.rig.cached import Cached
from tests.rig.openbao import MakeServer
from tests.rig.postgres import MakeDatabase
from tests.rig.proxy import Proxy, path
from tests.rig.scene import Scene, value
from tests.rig.waiting import eventually


@pytest.fixture
def cached(leasehold: Start, scene: Scene, database: MakeDatabase) -> Cached:
    return Cached(leasehold, scene, database)


async def killed(cached: Cached) -> None:
    """A run that held everything, and was killed."""
    agent = await cached.start()
    await cached.settle(agent)
    await agent.kill()
    cached.scene.proxy.forget()


async def test_with_the_vault_down_it_serves_what_is_valid_and_moves_quietly_to_live(
    cached: Cached,
) -> None:
    await killed(cached)
    credential, leases = cached.credential(), cached.made.leases()
    generation = (cached.scene.memory / "app/..data").readlink()
    await cached.scene.proxy.refuse()
    began_at = datetime.now(UTC)
    agent = await cached.start()
    await agent.event("store_down")
    status = await cached.status()
    for name in ("db", "app"):
        entry = status["secrets"][name]
        assert entry["stale"] and entry["state"] == "stale", entry
        assert datetime.fromisoformat(entry["stale_since"]) < began_at
    assert cached.credential() == credential and await asyncio.to_thread(cached.works)
    await cached.scene.proxy.start()
    await agent.event("token_resumed")
    await agent.event("lease_renewed", secret="db")
    await agent.event("secret_read", secret="app", is_changed=False)
    status = await cached.status()
    assert not any(each["stale"] for each in status["secrets"].values()), status
    assert status["stores"]["vault"]["state"] == "up"
    assert not agent.all("bundle_published") and not cached.diary.entries()
    assert not agent.all("secret_read", is_changed=True)
    assert (cached.scene.memory / "app/..data").readlink() == generation
    assert cached.logins() == 0 and cached.mints() == 0
    assert cached.made.leases() == leases and len(leases) == 1
    assert (await agent.stop()).code == 0
    assert not cached.made.leases() and not cached.scene.tokens()


async def test_files_that_are_gone_are_made_from_the_cache(cached: Cached) -> None:
    """A machine's memory is empty after a boot; here the directory was removed."""
    await killed(cached)
    credential = cached.credential()
    await asyncio.to_thread(shutil.rmtree, cached.scene.memory / "app")
    await cached.scene.proxy.refuse()
    agent = await cached.start()
    await agent.event("bundle_published")
    assert cached.credential() == credential
    await agent.stop()


async def test_with_the_vault_sealed_it_is_the_same(
    leasehold: Start,
    database: MakeDatabase,
    bao_server: MakeServer,
    make_proxy: Callable[[str], Awaitable[Proxy]],
    tmp_path: Path,
    memory_directory: Path,
) -> None:
    server = await asyncio.to_thread(bao_server)
    proxy = await make_proxy(server.address)
    scene = Scene(server.bao, proxy, tmp_path, memory_directory)
    cached = Cached(leasehold, scene, database, bao=server.bao)
    await killed(cached)
    (lease,) = cached.made.leases()
    await asyncio.to_thread(server.seal)
    agent = await cached.start()
    await agent.event("store_down")
    entry = (await cached.status())["secrets"]["db"]
    assert entry["stale"] and "sealed" in entry["reason"]
    await asyncio.to_thread(server.unseal)
    await agent.event("lease_renewed", secret="db", within=30)
    assert cached.made.leases() == [lease] and await asyncio.to_thread(cached.works)
    assert cached.logins() == 0 and cached.mints() == 0 and not agent.all("bundle_published")
    await agent.stop()


async def test_killed_again_and_again_it_is_one_login_and_one_lease(cached: Cached) -> None:
    await killed(cached)
    credential, (lease,) = cached.credential(), cached.made.leases()
    for _ in range(3):
        agent = await cached.start()
        await agent.event("lease_renewed", secret="db")
        assert cached.credential() == credential and cached.made.leases() == [lease]
        await agent.kill()
    assert cached.logins() == 0 and cached.mints() == 0
    assert len(cached.scene.tokens()) == 1


async def test_a_change_while_it_was_gone_is_a_rotation_like_any_other(cached: Cached) -> None:
    await killed(cached)
    changed = value()
    cached.scene.kv.put("app", password=changed)
    agent = await cached.start()
    await agent.event("bundle_published", generation=2)
    await agent.event("bundle_notified", generation=2)
    assert (cached.scene.memory / "app/password").read_text() == changed
    assert cached.mints() == 0 and len(cached.made.leases()) == 1
    await agent.stop()


async def test_a_credential_that_was_revoked_meanwhile_is_replaced(cached: Cached) -> None:
    await killed(cached)
    credential, (lease,) = cached.credential(), cached.made.leases()
    cached.scene.bao.revoke_lease(lease)
    agent = await cached.start()
    await agent.event("lease_lost", secret="db")
    await agent.event("bundle_published", generation=2)
    assert cached.credential() != credential and await asyncio.to_thread(cached.works)
    await agent.stop()


async def test_a_token_that_was_revoked_meanwhile_takes_the_credential_along(
    cached: Cached,
) -> None:
    await killed(cached)
    credential, (accessor,) = cached.credential(), cached.scene.tokens()
    cached.scene.bao.revoke_accessor(accessor)
    agent = await cached.start()
    await agent.event("token_lost", leases=1)
    await agent.event("logged_in")
    await agent.event("bundle_published", generation=2)
    assert cached.credential() != credential and await asyncio.to_thread(cached.works)
    await agent.stop()


async def test_a_credential_that_has_expired_is_never_served(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    cached = Cached(leasehold, scene, database, ttl="4s", max_ttl="4s")
    agent = await cached.start()
    await cached.settle(agent)
    await agent.kill()
    await scene.proxy.refuse()
    await eventually(lambda: not cached.made.leases())
    agent = await cached.start(is_ready=False)
    await agent.event("store_down")
    status = await cached.status()
    assert status["secrets"]["app"]["state"] == "stale", "this one has no end"
    assert status["secrets"].get("db", {"version": None})["version"] is None
    assert not agent.all("secret_restored", secret="db")
    await agent.kill()


async def test_a_denial_ends_the_copy_as_configured_and_an_outage_does_not(
    cached: Cached,
) -> None:
    configuration = cached.configuration()
    configuration["secrets"]["app"]["max_denied"] = "1s"
    agent = await cached.start(configuration=configuration)
    await cached.settle(agent)
    await agent.kill()
    cached.scene.allow(cached.scene.kv.api("app"))
    await cached.scene.proxy.refuse()
    agent = await cached.start(configuration=configuration)
    await agent.event("store_down")
    assert (await cached.status())["secrets"]["app"]["state"] == "stale"
    await cached.scene.proxy.start()
    await agent.event("secret_stale", secret="app", kind="denied")
    await agent.event("secret_expired", secret="app")
    await agent.stop()


async def test_killed_while_a_credential_was_minted_what_nobody_knows_is_ended(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    cached = Cached(leasehold, scene, database)
    role = f"auth/{scene.role.mount}/role/{scene.role.name}"
    scene.bao.request("POST", role, {"token_ttl": "8s"})
    agent = await cached.start()
    await cached.settle(agent)
    (lease,) = cached.made.leases()
    scene.proxy.fault(faults.Withhold(), path(cached.made.path))
    await (await leasehold(command="refresh", arguments=["db"])).wait()
    await eventually(lambda: len(cached.made.leases()) == 2)
    await agent.kill()
    scene.proxy.heal()
    agent = await cached.start()
    await agent.event("token_ending")
    await agent.event("bundle_notified", generation=2)
    await agent.event("token_revoked")
    await eventually(lambda: len(cached.made.leases()) == 1)
    assert lease not in cached.made.leases() and await asyncio.to_thread(cached.works)
    assert len(scene.tokens()) == 1
    await agent.stop()
    assert not cached.made.leases()


async def test_a_secret_that_means_another_place_now_gives_the_old_one_back(
    cached: Cached, database: MakeDatabase
) -> None:
    await killed(cached)
    (lease,) = cached.made.leases()
    other = database()
    cached.scene.allow(other.path, "read")
    configuration = cached.configuration()
    configuration["secrets"]["db"]["path"] = other.path
    agent = await cached.start(configuration=configuration)
    await agent.event("bundle_notified", generation=2)
    await agent.event("lease_revoked", secret="db")
    assert not cached.made.leases() and len(other.leases()) == 1
    assert cached.logins() == 0
    await agent.stop()
    assert not other.leases() and lease


async def test_killed_on_the_way_to_another_place_the_old_credential_lives_until_the_move(
    cached: Cached, database: MakeDatabase
) -> None:
    agent = await cached.start()
    await cached.settle(agent)
    other = database()
    cached.scene.allow(other.path, "read")
    configuration = cached.configuration()
    configuration["secrets"]["db"]["path"] = other.path
    cached.diary.fail()
    cached.leasehold.configure(configuration)
    await agent.event("bundle_failed", step="notify")
    await eventually(lambda: cached.is_written_after(agent, "bundle_failed"))
    await agent.kill()
    again = await cached.start(configuration=configuration)
    await again.event("bundle_failed", step="notify")
    assert len(cached.made.leases()) == len(other.leases()) == 1, "the app may be using either"
    cached.diary.recover()
    await again.event("bundle_notified", generation=2, within=20)
    await again.event("lease_revoked", secret="db")
    assert not cached.made.leases() and len(other.leases()) == 1
    await again.stop()
    assert not other.leases()


async def test_a_secret_that_is_no_longer_configured_is_given_back(cached: Cached) -> None:
    await killed(cached)
    configuration = cached.configuration()
    del configuration["secrets"]["db"]
    configuration["bundles"]["app"]["files"] = {"password": "{{ app.password }}"}
    agent = await cached.start(configuration=configuration)
    await agent.event("lease_revoked", secret="db")
    assert not cached.made.leases() and cached.logins() == 0
    await agent.stop()


async def test_another_identity_takes_up_nothing_and_says_what_is_left(cached: Cached) -> None:
    await killed(cached)
    (lease,) = cached.made.leases()
    configuration = cached.configuration()
    configuration["stores"]["vault"]["namespace"] = ""
    configuration["stores"]["vault"]["address"] = cached.scene.proxy.address + "/"
    agent = await cached.start(configuration=configuration)
    left = await agent.event("leases_left_behind", store="vault")
    assert left["leases"] == 1 and 3500 < left["ends_after"] <= 3600
    await agent.event("logged_in")
    assert len(cached.made.leases()) == 2 and lease in cached.made.leases()
    await agent.stop()
