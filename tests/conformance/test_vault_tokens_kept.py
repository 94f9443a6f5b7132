"""Tokens that outlive a run of the agent, on a real OpenBao: taken up, proven, replaced, ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from agent.config.model import AppRole, TokenFile
from agent.core.book import KeptStore
from agent.core.events import (
    LoggedIn,
    StoreDown,
    TokenEnding,
    TokenLost,
    TokenRenewed,
    TokenResumed,
    TokenRevoked,
)
from agent.core.lease import Lease
from agent.stores.base import UNKNOWN, ReadRequest
from agent.stores.vault.store import Vault
from tests.rig import bao_auth, faults
from tests.rig.bao_client import Bao
from tests.rig.clock import JumpClock
from tests.rig.postgres import Database, MakeDatabase
from tests.rig.proxy import Proxy, path
from tests.rig.stores import Recorder, ready, vault
from tests.rig.waiting import eventually

LEASES = {"sys/leases/revoke": ["update"], "sys/leases/renew": ["update"]}


def role(bao: Bao, mount: str = "none", **options: Any) -> AppRole:
    """A way to log in by approle that may read below `mount`."""
    permitted = bao.policy({f"{mount}/*": ["read"]} | LEASES)
    options.setdefault("token_ttl", "1h")
    made = bao_auth.approle(bao, [permitted], **options)
    return AppRole(mount=made.mount, role_id=made.role_id, secret_id=made.secret_id())


def logins(proxy: Proxy) -> int:
    return len([seen for seen in proxy.seen if seen.path.endswith("/login")])


async def lease_of(store: Vault, made: Database) -> Lease:
    reading = await store.read(ReadRequest(made.path))
    assert reading.lease is not None
    return reading.lease


async def left_by_a_run(proxy: Proxy, auth: Any) -> KeptStore:
    """What a run leaves that has logged in, and has minted nothing."""
    async with vault(proxy.address, auth, is_final=False) as store:
        kept = store.kept()
    proxy.forget()
    return kept


@asynccontextmanager
async def run_with_lease(
    proxy: Proxy, auth: Any, made: Database
) -> AsyncIterator[tuple[KeptStore, Lease]]:
    """The token and the lease that an earlier run has left."""
    async with vault(proxy.address, auth, is_final=False) as store:
        lease = await lease_of(store, made)
        kept = store.kept()
    proxy.forget()
    yield kept, lease


async def test_a_token_is_looked_up_and_used_on_without_a_login(bao: Bao, proxy: Proxy) -> None:
    kv = bao.kv()
    kv.put("app", password="one")
    auth, events = role(bao, kv.mount), Recorder()
    kept = await left_by_a_run(proxy, auth)
    assert kept.current == kept.tokens[0].id and kept.tokens[0].secret
    assert kept.tokens[0].secret not in repr(kept)
    async with vault(proxy.address, auth, kept=kept, events=events) as store:
        await store.read(ReadRequest(kv.cli("app")))
        assert store.auth.token().secret == kept.tokens[0].secret
        assert store.kept() == replace(kept, tokens=store.kept().tokens)
    assert logins(proxy) == 0 and not events.all(LoggedIn)
    assert 3590 < events.all(TokenResumed)[0].ttl_seconds <= 3600
    assert next(seen.path for seen in proxy.seen) == "auth/token/lookup-self"
    assert bao.lookup(kept.tokens[0].secret) is None, "revoked at the end"


async def test_its_true_time_counts_not_what_was_written_down(bao: Bao, proxy: Proxy) -> None:
    auth, events = role(bao, token_ttl="4s", token_max_ttl="1h"), Recorder()
    kept = await left_by_a_run(proxy, auth)
    token, term = kept.tokens[0], kept.tokens[0].term
    assert term is not None
    wrong = replace(term, began_at=term.began_at + 1000)
    kept = replace(kept, tokens=[replace(token, term=wrong)])
    async with vault(proxy.address, auth, kept=kept, events=events) as store:
        await events.until(lambda: events.all(TokenRenewed))
        ends_at = store.auth.token().ends_at
        assert ends_at is not None and ends_at < term.began_at + 30
    assert logins(proxy) == 0


async def test_one_that_never_ends_is_used_on(bao: Bao, proxy: Proxy) -> None:
    root = bao.make_token("root", period=0).id
    auth = TokenFile(token=root)
    kept = await left_by_a_run(proxy, auth)
    never = replace(kept.tokens[0], secret=root, is_ours=True, term=None)
    async with vault(proxy.address, auth, kept=replace(kept, tokens=[never])) as store:
        assert store.auth.token().term is None
    assert len(proxy.seen) == 2, "looked up, and revoked at the end"


async def test_a_dead_one_takes_its_leases_along_and_another_is_had(
    bao: Bao, proxy: Proxy, database: MakeDatabase
) -> None:
    made, events = database(), Recorder()
    auth = role(bao, made.mount)
    async with run_with_lease(proxy, auth, made) as (kept, lease):
        bao.revoke_token(kept.tokens[0].secret)
        options: dict[str, Any] = {"kept": kept, "events": events, "must_log_in": False}
        async with vault(proxy.address, auth, **options) as store:
            store.adopt(lease)
            assert store.parent(lease).is_alive and not store.is_ready
            await ready(store, events)
            assert not store.parent(lease).is_alive
    assert events.all(TokenLost)[0].leases == 1 and logins(proxy) == 1


async def test_one_that_has_ended_meanwhile_is_never_tried(
    bao: Bao, proxy: Proxy, clock: JumpClock
) -> None:
    auth = role(bao)
    kept = await left_by_a_run(proxy, auth)
    kept = kept.shifted(clock.now() - kept.tokens[0].had_at - 3601)
    lease = Lease("x/1", kept.tokens[0].term, kept.tokens[0].id)  # type: ignore[arg-type]
    async with vault(proxy.address, auth, kept=kept, clock=clock, must_log_in=False) as store:
        assert not store.parent(lease).is_alive
        assert store.kept().tokens == []
        await eventually(lambda: store.is_ready)
    assert logins(proxy) == 1 and not proxy.requests("auth/token/lookup-self")


async def test_while_the_server_is_gone_its_leases_are_good_and_nothing_is_asked(
    bao: Bao, proxy: Proxy, database: MakeDatabase
) -> None:
    made, events = database(), Recorder()
    auth = role(bao, made.mount)
    async with run_with_lease(proxy, auth, made) as (kept, lease):
        await proxy.refuse()
        options: dict[str, Any] = {"kept": kept, "events": events, "must_log_in": False}
        async with vault(proxy.address, auth, **options) as store:
            store.adopt(lease)
            await events.until(lambda: events.all(StoreDown))
            assert store.parent(lease).is_alive and not store.is_ready
            assert store.trouble is not None and store.trouble.kind == "outage"
            await proxy.start()
            await ready(store, events)
            await store.renew(lease)
            assert made.leases() == [lease.id]
    assert logins(proxy) == 0 and not events.all(LoggedIn, TokenLost)


async def test_without_an_answer_it_is_looked_up_again_but_not_in_a_loop(
    bao: Bao, proxy: Proxy
) -> None:
    auth = role(bao, token_ttl="20s")
    kept = await left_by_a_run(proxy, auth)
    proxy.fault(faults.BROKEN, path("auth/token/lookup-self"), times=3)
    async with vault(proxy.address, auth, kept=kept):
        ats = [seen.at for seen in proxy.requests("auth/token/lookup-self")]
    assert len(ats) == 4 and ats[-1] - ats[0] > 0.1
    assert logins(proxy) == 0


async def test_one_that_may_not_be_looked_up_is_renewed(bao: Bao, proxy: Proxy) -> None:
    own = {f"auth/token/{name}-self": ["update"] for name in ("renew", "revoke")}
    made = bao_auth.approle(bao, [bao.policy(own)], token_ttl="1h", token_no_default_policy=True)
    auth = AppRole(mount=made.mount, role_id=made.role_id, secret_id=made.secret_id())
    kept = await left_by_a_run(proxy, auth)
    async with vault(proxy.address, auth, kept=kept):
        assert proxy.requests("auth/token/renew-self")
    assert logins(proxy) == 0


async def test_one_that_can_be_neither_proven_nor_renewed_gets_a_successor(
    bao: Bao, proxy: Proxy
) -> None:
    nothing = bao.policy({"none/*": ["read"]})
    made = bao_auth.approle(bao, [nothing], token_ttl="3s", token_no_default_policy=True)
    auth = AppRole(mount=made.mount, role_id=made.role_id, secret_id=made.secret_id())
    kept, events = await left_by_a_run(proxy, auth), Recorder()
    async with vault(proxy.address, auth, kept=kept, events=events, must_log_in=False):
        await events.until(lambda: events.all(LoggedIn))
    assert len(proxy.requests("auth/token/lookup-self")) == 1


async def test_an_outworn_token_is_replaced_its_leases_move_and_what_nobody_knows_ends(
    bao: Bao, proxy: Proxy, database: MakeDatabase
) -> None:
    made, events = database(), Recorder()
    auth = role(bao, made.mount)
    async with run_with_lease(proxy, auth, made) as (kept, lease):
        bao.request("GET", made.path, token=kept.tokens[0].secret)  # this one nobody knows
        assert len(made.leases()) == 2
        options: dict[str, Any] = {
            "kept": kept,
            "is_ending": True,
            "events": events,
            "must_log_in": False,
        }
        async with vault(proxy.address, auth, **options) as store:
            store.adopt(lease)
            await events.until(lambda: events.all(TokenEnding))
            parent = store.parent(lease)
            assert parent.is_alive and parent.ending_since is not None
            assert parent.leave_by == parent.ending_since + 600
            assert "nobody knows" in str(events.all(TokenEnding)[0])
            fresh = await lease_of(store, made)
            await store.revoke(lease)
            assert len(made.leases()) == 2, "an app may be using it"
            store.forget(UNKNOWN)
            await events.until(lambda: events.all(TokenRevoked))
            await eventually(lambda: made.leases() == [fresh.id])
    assert logins(proxy) == 1


async def test_nothing_new_is_minted_on_an_outworn_token(
    bao: Bao, proxy: Proxy, database: MakeDatabase
) -> None:
    made, events = database(), Recorder()
    auth = role(bao, made.mount)
    kept = await left_by_a_run(proxy, auth)
    async with vault(proxy.address, auth, kept=kept, is_ending=True, events=events) as store:
        assert store.auth.token().id != kept.current, "not ready before the login"
        lease = await lease_of(store, made)
        store.forget(UNKNOWN)
        await events.until(lambda: events.all(TokenRevoked))
        assert made.leases() == [lease.id]
    assert logins(proxy) == 1


async def test_an_outworn_token_serves_while_nobody_can_log_in(
    bao: Bao, proxy: Proxy, database: MakeDatabase
) -> None:
    made, events = database(), Recorder()
    auth = role(bao, made.mount)
    async with run_with_lease(proxy, auth, made) as (kept, lease):
        wrong = AppRole(mount=auth.mount, role_id=auth.role_id, secret_id="not-it")
        options: dict[str, Any] = {"kept": kept, "is_ending": True, "events": events}
        async with vault(proxy.address, wrong, **options) as store:
            store.adopt(lease)
            await store.renew(lease)
            assert store.parent(lease).ending_since is None, "it has no successor"


async def test_what_could_not_be_given_back_is_left_for_the_next_run(
    bao: Bao, proxy: Proxy, database: MakeDatabase
) -> None:
    made = database()
    auth = role(bao, made.mount)
    async with vault(proxy.address, auth) as store:
        lease = await lease_of(store, made)
        proxy.fault(faults.Reset(is_asked=False))
    assert store.parent(lease).is_alive
    kept = store.kept()
    assert bao.lookup(kept.tokens[0].secret)
    proxy.heal()
    async with vault(proxy.address, auth, kept=kept):
        pass
    assert bao.lookup(kept.tokens[0].secret) is None


async def test_what_was_given_back_is_not(bao: Bao, proxy: Proxy) -> None:
    async with vault(proxy.address, role(bao)) as store:
        pass
    assert store.kept().tokens == []


async def test_a_token_whose_leases_are_to_live_on_is_not_revoked_by_the_next_run_either(
    bao: Bao, proxy: Proxy, database: MakeDatabase
) -> None:
    made = database()
    auth = role(bao, made.mount)
    async with vault(proxy.address, auth, is_final=False) as store:
        lease = await lease_of(store, made)
        store.forget(lease, lives_on=True)
        kept = store.kept()
    async with vault(proxy.address, auth, kept=kept):
        pass
    assert bao.lookup(kept.tokens[0].secret) and made.leases() == [lease.id]


async def test_a_provided_token_is_not_written_down_and_its_leases_go_on_with_it(
    bao: Bao, proxy: Proxy, database: MakeDatabase, tmp_path: Path
) -> None:
    made = database()
    permitted = bao.policy({f"{made.mount}/*": ["read"]} | LEASES)
    file, events = tmp_path / "token", Recorder()
    provided = bao.make_token(permitted, ttl="1h")
    file.write_text(provided.id)
    auth = TokenFile(token_file=file)
    async with run_with_lease(proxy, auth, made) as (kept, lease):
        assert [each.secret for each in kept.tokens] == [""]
        options: dict[str, Any] = {"kept": kept, "events": events, "must_log_in": False}
        async with vault(proxy.address, auth, **options) as store:
            store.adopt(lease)
            assert store.parent(lease).is_alive and not store.is_ready
            await ready(store, events)
            assert store.parent(lease).is_alive
            assert lease.id in store.auth.token().leases
            await store.renew(lease)
        second = bao.make_token(permitted, ttl="1h")
        await asyncio.to_thread(file.write_text, second.id)
        async with vault(proxy.address, auth, **options) as store:
            store.adopt(lease)
            await ready(store, events)
            parent, now = store.parent(lease), store.auth.token().had_at
            assert parent.is_alive and parent.ends_at is not None and parent.ends_at > now + 3500
    assert bao.lookup(provided.id) and bao.lookup(second.id), "they belong to somebody else"


async def test_a_value_without_a_version_of_its_own_is_known_again(bao: Bao, proxy: Proxy) -> None:
    kv = bao.kv(1)
    kv.put("app", password="one")
    auth, request = role(bao, kv.mount), ReadRequest(kv.cli("app"))
    async with vault(proxy.address, auth, is_final=False) as store:
        first, kept = await store.read(request), store.kept()
    async with vault(proxy.address, auth, kept=kept) as store:
        assert (await store.read(request)).version == first.version
    async with vault(proxy.address, auth) as store:
        assert (await store.read(request)).version != first.version, "nobody can guess"


async def test_the_place_tells_whose_tokens_these_are(bao: Bao, proxy: Proxy) -> None:
    auth = role(bao)

    async def place(auth: Any = auth, **spec: Any) -> str:
        address = spec.pop("address", proxy.address)
        async with vault(address, auth, must_log_in=False, **spec) as store:
            return store.kept().place

    same = await place()
    assert same == await place(timeout=3.0)
    assert same == await place(replace(auth, secret_id="another"))
    others = [
        await place(address="http://127.0.0.1:1"),
        await place(namespace="team"),
        await place(replace(auth, role_id="another")),
        await place(replace(auth, mount="another")),
        await place(TokenFile(token="some")),
    ]
    assert len({same, *others}) == 6
