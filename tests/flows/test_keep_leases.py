"""An upgrade in place: one run ends and gives nothing back, the next goes on with all of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.rig.agent import Start
from tests.rig.cached import Cached
from tests.rig.postgres import MakeDatabase
from tests.rig.scene import Scene
from tests.rig.waiting import eventually


@pytest.fixture
def cached(leasehold: Start, scene: Scene, database: MakeDatabase) -> Cached:
    return Cached(leasehold, scene, database)


async def test_the_next_run_goes_on_without_a_login_a_mint_or_a_word_to_the_app(
    cached: Cached,
) -> None:
    agent = await cached.start("--keep-leases")
    await cached.settle(agent)
    credential, (lease,), tokens = cached.credential(), cached.made.leases(), cached.scene.tokens()
    done = await agent.stop()
    assert done.code == 0
    assert "leases are kept for the next run" in agent.all("stopping")[0]["message"]
    assert cached.made.leases() == [lease] and cached.scene.tokens() == tokens
    assert cached.credential() == credential and await asyncio.to_thread(cached.works)
    cached.scene.proxy.forget()
    again = await cached.start()
    await again.event("token_resumed")
    await again.event("lease_renewed", secret="db")
    await again.event("secret_read", secret="app", is_changed=False)
    assert cached.credential() == credential and cached.made.leases() == [lease]
    assert cached.logins() == 0 and cached.mints() == 0
    assert not cached.diary.entries() and not again.all("bundle_published")
    await again.stop()
    assert not cached.made.leases() and not cached.scene.tokens(), "this run was not told to keep"


async def test_files_that_would_be_removed_at_the_end_stand(cached: Cached) -> None:
    configuration = cached.configuration()
    configuration["bundles"]["app"]["remove_on_exit"] = True
    agent = await cached.start("--keep-leases", configuration=configuration)
    await cached.settle(agent)
    await agent.stop()
    assert await asyncio.to_thread(cached.works)
    again = await cached.start(configuration=configuration)
    await again.event("lease_renewed", secret="db")
    await again.stop()
    assert not (cached.scene.memory / "app/user").exists()


async def test_a_former_value_that_nobody_holds_is_given_back_by_the_next_run(
    leasehold: Start, scene: Scene, database: MakeDatabase
) -> None:
    cached = Cached(leasehold, scene, database)
    agent = await cached.start("--keep-leases")
    await cached.settle(agent)
    (first,) = cached.made.leases()
    cached.diary.fail()
    await (await leasehold(command="refresh", arguments=["db"])).wait()
    await agent.event("bundle_failed", step="notify")
    await agent.stop()
    assert len(cached.made.leases()) == 2, "the app may be using either"
    cached.diary.recover()
    again = await cached.start()
    await again.event("lease_revoked", secret="db")
    assert len(cached.made.leases()) == 1 and first not in cached.made.leases()
    assert await asyncio.to_thread(cached.works)
    assert cached.logins() == 1
    await again.stop()


async def test_run_keeps_them_too(cached: Cached) -> None:
    flag = cached.scene.folder / "stop"
    configuration = cached.configuration(
        process={
            "command": ["/bin/sh", "-c", f"while ! test -e {flag}; do sleep 0.05; done; exit 7"],
            "environment": {"USER_OF_DB": "{{ db.username }}"},
        }
    )
    run = await cached.start("--keep-leases", configuration=configuration, command="run")
    await cached.settle(run)
    (lease,) = cached.made.leases()
    flag.touch()
    assert (await run.wait()).code == 7
    assert cached.made.leases() == [lease]
    flag.unlink()
    again = await cached.start(configuration=configuration, command="run")
    await again.event("lease_renewed", secret="db")
    await again.event("process_started")
    assert cached.made.leases() == [lease] and cached.mints() == 1
    await again.stop()
    assert not cached.made.leases()


async def test_without_a_cache_it_is_refused_in_one_line(cached: Cached) -> None:
    configuration = cached.configuration()
    del configuration["cache"]
    agent = await cached.start("--keep-leases", configuration=configuration, is_ready=False)
    done = await agent.wait()
    assert done.code == 2
    assert "--keep-leases: there is no cache: section to keep them in" in done.err.splitlines()
    assert not cached.scene.proxy.seen


async def test_another_cache_needs_another_run(cached: Cached) -> None:
    agent = await cached.start()
    await cached.settle(agent)
    other = cached.configuration()
    other["cache"]["max_age"] = "1h"
    cached.leasehold.configure(other)
    refused = await agent.event("reload_refused")
    assert "cache: can't be changed while the agent runs" in refused["problems"][0]
    await agent.stop()


async def test_two_agents_never_share_a_cache(cached: Cached) -> None:
    agent = await cached.start()
    await cached.settle(agent)
    second = await cached.start(is_ready=False)
    done = await second.wait()
    assert done.code == 1 and "used by another agent" in done.err
    assert len(cached.made.leases()) == 1
    await agent.stop()
    await eventually(lambda: not cached.made.leases())
