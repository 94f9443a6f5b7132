"""The end of a run: what was minted goes back in order; what can't is named, and kept for later."""

from __future__ import annotations

import asyncio

import pytest

from tests.rig import faults
from tests.rig.agent import Start
from tests.rig.cached import Cached
from tests.rig.postgres import MakeDatabase
from tests.rig.proxy import path
from tests.rig.scene import Scene


@pytest.fixture
def cached(leasehold: Start, scene: Scene, database: MakeDatabase) -> Cached:
    return Cached(leasehold, scene, database)


async def test_the_child_first_then_leases_then_the_token(cached: Cached) -> None:
    configuration = cached.configuration(
        process={"command": ["/bin/sleep", "1000"], "environment": {"U": "{{ db.username }}"}}
    )
    run = await cached.start(configuration=configuration, command="run")
    await run.event("process_started")
    done = await run.stop()
    told = [each["event"] for each in run.events]
    ends = ["stopping", "lease_revoked", "token_revoked"]
    assert told.index("process_ended") < told.index("stopping")
    assert [each for each in told if each in ends] == ends, done.err
    assert not cached.made.leases() and not cached.scene.tokens()


async def test_with_the_vault_gone_what_is_left_is_named_and_the_next_run_goes_on(
    cached: Cached,
) -> None:
    agent = await cached.start()
    await cached.settle(agent)
    credential, (lease,) = cached.credential(), cached.made.leases()
    await cached.scene.proxy.refuse()
    done = await agent.stop()
    assert done.code == 0
    (left,) = agent.all("leases_not_revoked")
    assert left["secret"] == "db" and left["leases"] == 1
    assert "Connection refused" in left["reason"] and 3500 < left["ends_after"] <= 3600
    (token,) = agent.all("tokens_not_revoked")
    assert token["tokens"] == 1 and token["ends_after"] > 3600
    again = await cached.start()
    assert cached.credential() == credential
    await cached.scene.proxy.start()
    await again.event("lease_renewed", secret="db")
    assert cached.made.leases() == [lease] and cached.logins() == 1
    await again.stop()
    assert not cached.made.leases() and not cached.scene.tokens()


async def test_the_next_run_gives_back_what_it_does_not_need(cached: Cached) -> None:
    agent = await cached.start()
    await cached.settle(agent)
    await cached.scene.proxy.refuse()
    await agent.stop()
    await cached.scene.proxy.start()
    configuration = cached.configuration()
    del configuration["secrets"]["db"]
    configuration["bundles"]["app"]["files"] = {"password": "{{ app.password }}"}
    again = await cached.start(configuration=configuration)
    await again.event("lease_revoked", secret="db")
    assert not cached.made.leases()
    await again.stop()
    assert not cached.scene.tokens()


async def test_a_vault_that_hangs_holds_up_the_end_no_longer_than_the_grace(
    cached: Cached,
) -> None:
    agent = await cached.start(configuration=cached.configuration(shutdown_timeout="1s"))
    await cached.settle(agent)
    (lease,) = cached.made.leases()
    cached.scene.proxy.fault(faults.Hang(), path("sys/leases/revoke"))
    done = await agent.stop(within=5)
    assert done.code == 0
    (left,) = agent.all("leases_not_revoked")
    assert left["secret"] == "db" and "shutdown_timeout" in left["reason"]
    cached.scene.proxy.heal()
    again = await cached.start()
    await again.event("lease_renewed", secret="db")
    assert cached.made.leases() == [lease] and cached.logins() == 1
    await again.stop()
    assert not cached.made.leases() and not cached.scene.tokens()


async def test_revoked_before_the_end_it_is_not_taken_up(cached: Cached) -> None:
    agent = await cached.start()
    await cached.settle(agent)
    credential = cached.credential()
    await agent.stop()
    again = await cached.start()
    await again.event("logged_in")
    await again.event("bundle_published", generation=2)
    assert cached.credential() != credential and await asyncio.to_thread(cached.works)
    assert not again.all("secret_restored", secret="db") and not again.all("token_lost")
    assert again.all("secret_restored", secret="app"), "a value without a lease is good still"
    await again.stop()


async def test_a_start_that_fails_gives_back_what_it_had_minted(cached: Cached) -> None:
    """vault#6492. The secrets are there, and the program is not."""
    configuration = cached.configuration(process={"command": ["/nowhere/app"]})
    run = await cached.start(configuration=configuration, command="run", is_ready=False)
    done = await run.wait()
    assert done.code not in (0, 2), done.err
    assert cached.mints() == 1
    assert not cached.made.leases() and not cached.scene.tokens()


async def test_so_does_one_that_fails_with_what_the_run_before_has_left(cached: Cached) -> None:
    agent = await cached.start()
    await cached.settle(agent)
    await agent.kill()
    configuration = cached.configuration(telemetry={"socket": "/proc/telemetry.sock"})
    failed = await cached.start(configuration=configuration, is_ready=False)
    done = await failed.wait()
    assert done.code == 1, done.err
    await (await cached.start()).stop()  # whichever came first: taken up, or the failure
    assert not cached.made.leases() and not cached.scene.tokens()


async def test_told_to_keep_leases_a_start_that_fails_keeps_them(cached: Cached) -> None:
    agent = await cached.start("--keep-leases")
    await cached.settle(agent)
    await agent.stop()
    (lease,) = cached.made.leases()
    configuration = cached.configuration(telemetry={"socket": "/proc/telemetry.sock"})
    failed = await cached.start("--keep-leases", configuration=configuration, is_ready=False)
    assert (await failed.wait()).code == 1
    assert cached.made.leases() == [lease]
    again = await cached.start()
    await again.event("lease_renewed", secret="db")
    assert cached.made.leases() == [lease] and cached.logins() == 1
    await again.stop()
    assert not cached.made.leases()
