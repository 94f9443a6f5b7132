"""The life of tokens on a real OpenBao, and of what hangs on them."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from agent.config.model import AppRole, Jwt, TokenFile
from agent.core.events import (
    Advice,
    LeaseLost,
    LoggedIn,
    LoginFailed,
    SecretExpired,
    StoreBack,
    StoreDown,
    TokenEnding,
    TokenLost,
    TokenRenewed,
    TokenRevoked,
)
from agent.stores.base import ReadRequest
from tests.rig import bao_auth, faults
from tests.rig.bao_client import Bao, Kv
from tests.rig.clock import JumpClock
from tests.rig.openbao import MakeServer
from tests.rig.postgres import Database, MakeDatabase
from tests.rig.proxy import Proxy, path
from tests.rig.stores import Changes, Recorder, vault
from tests.rig.waiting import another_second, eventually
from tests.rig.watched import watched

LEASES = {
    "sys/leases/revoke": ["update"],
    "sys/leases/renew": ["update"],
}


def role(bao: Bao, *policies: str, **options: object) -> AppRole:
    """A way to log in by approle."""
    made = bao_auth.approle(bao, list(policies), **options)
    return AppRole(mount=made.mount, role_id=made.role_id, secret_id=made.secret_id())


def policy(bao: Bao, *mounts: str) -> str:
    return bao.policy({f"{mount}/*": ["read"] for mount in mounts} | LEASES)


def kv_with(bao: Bao, *names: str) -> Kv:
    kv = bao.kv()
    for name in names:
        kv.put(name, password=name)
    return kv


def logins(proxy: Proxy) -> int:
    return len([seen for seen in proxy.seen if seen.path.endswith("/login")])


def in_a_second(proxy: Proxy) -> int:
    """The most requests that were seen within one second."""
    ats = sorted(seen.at for seen in proxy.seen)
    return max(sum(at <= other < at + 1 for other in ats) for at in ats)


# --- renewal ----------------------------------------------------------------------------------


async def test_a_token_is_renewed_at_a_fraction_and_nothing_is_minted_anew_vault_11030(
    bao: Bao, database: MakeDatabase, proxy: Proxy
) -> None:
    made = database(ttl="1h")
    auth = role(bao, policy(bao, made.mount), token_ttl="2s", token_max_ttl="1h")
    async with watched(proxy.address, auth, {"db": {"path": made.path}}) as agent:
        await eventually(lambda: agent.are_fresh("db"))
        lease, token = agent.lease_id("db"), agent.store.auth.token()
        await agent.events.until(lambda: len(agent.events.all(TokenRenewed)) == 2)
        renewals = [seen.at for seen in proxy.requests("auth/token/renew-self")]
        assert all(1.1 < b - a < 1.7 for a, b in itertools.pairwise(renewals))
        assert agent.store.auth.token() is token and logins(proxy) == 1
        assert agent.lease_id("db") == lease and made.leases() == [lease]
        ends_at = agent.entry("db").expires_at
        assert ends_at is not None and ends_at > agent.store.auth.token().had_at + 3, "as renewed"


async def test_a_periodic_token_is_renewed_without_end(bao: Bao, proxy: Proxy) -> None:
    kv = kv_with(bao, "app")
    auth = role(bao, policy(bao, kv.mount), token_period="1s")
    async with watched(proxy.address, auth, {"app": {"path": kv.cli("app")}}) as agent:
        await agent.events.until(lambda: len(agent.events.all(TokenRenewed)) >= 4)
        assert logins(proxy) == 1


async def test_at_its_maximum_a_token_gets_a_successor_and_its_leases_move_first(
    bao: Bao, database: MakeDatabase, proxy: Proxy
) -> None:
    made = database(ttl="1h")
    names = ["one", "two", "three"]
    auth = role(bao, policy(bao, made.mount), token_ttl="4s", token_max_ttl="6s")
    secrets = {name: {"path": made.path} for name in names}
    async with watched(proxy.address, auth, secrets) as agent:
        await eventually(lambda: agent.are_fresh(*names))
        for name in names:
            agent.ledger.hold(name, {name: [agent.entry(name).revision]})
        old, first = agent.store.auth.token(), {name: agent.value(name) for name in names}
        await agent.events.until(lambda: agent.events.all(TokenEnding))
        assert bao.lookup(old.secret), "the old one lives"
        assert agent.store.auth.token() is not old
        await eventually(lambda: all(agent.value(name) != first[name] for name in names))
        assert all(can_log_in(made, first[name]) for name in names), "still held"
        reads = [seen.at for seen in proxy.requests(made.path)][3:]
        assert reads[-1] - reads[0] > 0.3, "one by one"
        for name in names:
            agent.ledger.release(name)
        await agent.events.until(lambda: agent.events.all(TokenRevoked))
        assert bao.lookup(old.secret) is None
        assert all(can_log_in(made, agent.value(name)) for name in names)
        assert not agent.events.all(TokenLost, SecretExpired, LeaseLost)
        assert logins(proxy) == 2


def can_log_in(made: Database, value: dict[str, object]) -> bool:
    return made.postgres.can_log_in(str(value["username"]), str(value["password"]))


async def test_a_consumer_that_never_moves_keeps_the_old_token_until_its_end(
    bao: Bao, database: MakeDatabase
) -> None:
    made = database(ttl="1h")
    auth = role(bao, policy(bao, made.mount), token_ttl="3s", token_max_ttl="3s")
    async with watched(bao.address, auth, {"db": {"path": made.path}}) as agent:
        await eventually(lambda: agent.are_fresh("db"))
        agent.ledger.hold("bundle", {"db": [agent.entry("db").revision]})
        old = agent.store.auth.token()
        await agent.events.until(lambda: len(agent.events.all(LoggedIn)) == 2)
        await agent.events.until(lambda: agent.events.all(TokenLost))
        assert old.secret != agent.store.auth.token().secret
        assert agent.entry("db").is_usable and can_log_in(made, agent.value("db"))


async def test_a_token_that_may_not_renew_itself_makes_no_loop_openbao_3747_vault_22575(
    bao: Bao, database: MakeDatabase, proxy: Proxy
) -> None:
    """Hundreds of requests a second there; here it has a successor in time."""
    made = database(ttl="1h")
    reads = bao.policy(
        {f"{made.mount}/*": ["read"], "auth/token/lookup-self": ["read"]}
        | {"auth/token/revoke-self": ["update"], "sys/internal/ui/mounts/*": ["read"]}
        | LEASES
    )
    auth = role(bao, reads, token_ttl="2s", token_no_default_policy=True)
    async with watched(proxy.address, auth, {"db": {"path": made.path}}) as agent:
        await eventually(lambda: agent.are_fresh("db"))
        await agent.events.until(lambda: len(agent.events.all(LoggedIn)) == 3)
        assert not agent.events.all(TokenLost, SecretExpired)
        assert in_a_second(proxy) <= 12
        assert len(proxy.requests("auth/token/renew-self")) <= 3
        await agent.events.until(lambda: agent.events.all(TokenRevoked))
        assert can_log_in(made, agent.value("db"))


async def test_renewals_that_fail_for_a_while_are_tried_again(bao: Bao, proxy: Proxy) -> None:
    kv = kv_with(bao, "app")
    auth = role(bao, policy(bao, kv.mount), token_ttl="2s", token_max_ttl="1h")
    proxy.fault(faults.BROKEN, path("auth/token/renew-self"), times=3)
    async with watched(proxy.address, auth, {"app": {"path": kv.cli("app")}}) as agent:
        await agent.events.until(lambda: agent.events.all(TokenRenewed))
        assert logins(proxy) == 1 and not agent.events.all(TokenLost)


async def test_a_renewal_that_is_refused_without_an_answer_why_ends_nothing(
    bao: Bao, proxy: Proxy
) -> None:
    """The look-up that would tell fails, too."""
    kv = kv_with(bao, "app")
    auth = role(bao, policy(bao, kv.mount), token_ttl="2s", token_max_ttl="1h")
    proxy.fault(faults.DENIED, path("auth/token/renew-self"), times=2)
    proxy.fault(faults.BROKEN, path("auth/token/lookup-self"), times=2)
    async with watched(proxy.address, auth, {"app": {"path": kv.cli("app")}}) as agent:
        await agent.events.until(lambda: agent.events.all(TokenRenewed))
        assert not agent.events.all(TokenLost)


# --- revoked outside --------------------------------------------------------------------------


async def test_a_token_revoked_outside_is_noticed_and_reading_goes_on_within_two_seconds(
    bao: Bao, proxy: Proxy
) -> None:
    """consul-template never recovers. Ten secrets ask, and one look-up answers for all."""
    names = [f"app{number}" for number in range(10)]
    kv = kv_with(bao, *names)
    auth = role(bao, policy(bao, kv.mount), token_ttl="1h")
    secrets = {name: {"path": kv.cli(name)} for name in names}
    async with watched(proxy.address, auth, secrets) as agent:
        await eventually(lambda: agent.are_fresh(*names))
        await another_second()
        bao.revoke_token(agent.store.auth.token().secret)
        for name in names:
            kv.put(name, password="changed")
        proxy.forget()
        for watcher in agent.watchers.values():
            watcher.refresh()
        await eventually(
            lambda: all(agent.value(name)["password"] == "changed" for name in names), within=2
        )
        assert logins(proxy) == 1
        assert len(proxy.requests("auth/token/lookup-self")) == 1
        assert len(proxy.requests(kv.mount)) <= 20
        assert len(agent.events.all(TokenLost)) == 1


async def test_leases_of_a_dead_token_are_replaced_at_once_and_kv_is_left_alone(
    bao: Bao, database: MakeDatabase, proxy: Proxy
) -> None:
    made, kv = database(ttl="1h"), kv_with(bao, "app", "quiet")
    auth = role(bao, policy(bao, made.mount, kv.mount), token_ttl="1h")
    secrets = {
        "db": {"path": made.path},
        "app": {"path": kv.cli("app")},
        "quiet": {"path": kv.cli("quiet")},
    }
    async with watched(proxy.address, auth, secrets) as agent:
        await eventually(lambda: agent.are_fresh("db", "app", "quiet"))
        await another_second()
        first = agent.value("db")
        bao.revoke_token(agent.store.auth.token().secret)
        proxy.forget()
        agent.watchers["app"].refresh()
        await eventually(
            lambda: agent.are_fresh("db", "app") and agent.value("db") != first, within=2
        )
        assert can_log_in(made, agent.value("db"))
        assert not proxy.requests(kv.api("quiet")), "a value without a lease is left as it is"
        assert len(proxy.requests(made.path)) == 1
        assert len(made.leases()) == 1


async def test_a_denied_path_is_told_apart_by_one_look_up(bao: Bao, proxy: Proxy) -> None:
    kv, other = kv_with(bao, "app"), kv_with(bao, "secret")
    rules = {f"{kv.mount}/*": ["read"], f"{other.mount}/data/secret": ["deny"]}
    permitted = bao.policy(rules | {f"{other.mount}/data/else": ["read"]})
    auth = role(bao, permitted, token_ttl="1h")
    secrets = {"app": {"path": kv.cli("app")}, "no": {"path": other.cli("secret")}}
    async with watched(proxy.address, auth, secrets) as agent:
        await eventually(lambda: agent.are_fresh("app") and agent.entry("no").kind == "denied")
        assert len(proxy.requests("auth/token/lookup-self")) == 1
        assert logins(proxy) == 1 and not agent.events.all(TokenLost)


async def test_one_denied_path_among_many_for_ten_minutes(
    bao: Bao, proxy: Proxy, clock: JumpClock
) -> None:
    """consul-template exits after 304 s, bao agent starts its whole runner again."""
    names = [f"app{number}" for number in range(5)]
    kv = kv_with(bao, *names, "denied")
    rules = {f"{kv.mount}/data/app*": ["read"]}
    permitted = bao.policy(rules)
    auth = role(bao, permitted, token_ttl="24h")
    secrets = {name: {"path": kv.cli(name)} for name in [*names, "denied"]}
    clock.idle_seconds = 0.02
    async with watched(proxy.address, auth, secrets, clock=clock) as agent:
        await eventually(lambda: agent.are_fresh(*names))
        proxy.forget()
        for _ in range(10):
            await clock.advance(60)
            assert agent.are_fresh(*names)
        asked = len(proxy.requests(kv.api("denied")))
        assert 2 <= asked <= 30
        assert all(len(proxy.requests(kv.api(name))) in (2, 3) for name in names)
        assert logins(proxy) == 0
        bao.set_policy(permitted, rules | {f"{kv.mount}/data/denied": ["read"]})
        await clock.run_until(lambda: agent.are_fresh("denied"), within=301)


async def test_a_policy_without_look_up_takes_no_token_for_dead(bao: Bao, proxy: Proxy) -> None:
    """A 403 that is the policy's own is told apart; or every denied path would log in again."""
    kv = kv_with(bao, "app", "denied")
    rules = {f"{kv.mount}/data/app": ["read"], "sys/internal/ui/mounts/*": ["read"]}
    auth = role(bao, bao.policy(rules), token_ttl="1h", token_no_default_policy=True)
    secrets = {"app": {"path": kv.cli("app")}, "denied": {"path": kv.cli("denied")}}
    async with watched(proxy.address, auth, secrets) as agent:
        await eventually(lambda: agent.are_fresh("app") and agent.entry("denied").kind == "denied")
        await eventually(lambda: len(proxy.requests(kv.api("denied"))) >= 3)
        assert logins(proxy) == 1 and not agent.events.all(TokenLost)
        assert len(proxy.requests("auth/token/lookup-self")) == 1
        assert any("lookup-self" in event.text for event in agent.events.all(Advice))


async def test_a_token_with_few_uses_makes_no_loop_of_logins(bao: Bao, proxy: Proxy) -> None:
    names = [f"app{number}" for number in range(6)]
    kv = kv_with(bao, *names)
    auth = role(bao, policy(bao, kv.mount), token_ttl="1h", token_num_uses=4)
    secrets = {name: {"path": kv.cli(name)} for name in names}
    async with watched(proxy.address, auth, secrets) as agent:
        await eventually(lambda: agent.are_fresh(*names), within=20)
        assert logins(proxy) <= 6
        assert any("requests" in event.text for event in agent.events.all(Advice))


# --- new credentials --------------------------------------------------------------------------


async def test_a_login_with_a_new_jwt_mints_nothing_while_the_old_token_lives(
    bao: Bao, database: MakeDatabase, proxy: Proxy, tmp_path: Path
) -> None:
    """consul-template#1433, vault#11030: every login minted, and left orphans."""
    made = database(ttl="1h")
    jwt = bao_auth.jwt(bao, [policy(bao, made.mount)], token_ttl="2s")
    file = tmp_path / "jwt"
    file.write_text(jwt.token())
    auth, changes = Jwt(mount=jwt.mount, role="app", jwt_file=file), Changes()
    secrets = {"db": {"path": made.path}}
    async with watched(proxy.address, auth, secrets, changes=changes) as agent:
        await eventually(lambda: agent.are_fresh("db"))
        lease, old = agent.lease_id("db"), agent.store.auth.token()
        await asyncio.to_thread(file.write_text, jwt.token())
        changes.changed(file)
        await agent.events.until(lambda: len(agent.events.all(LoggedIn)) == 2)
        renewed = len(agent.events.all(TokenRenewed))
        await agent.events.until(lambda: len(agent.events.all(TokenRenewed)) >= renewed + 3)
        assert agent.lease_id("db") == lease and made.leases() == [lease]
        assert bao.lookup(old.secret), "kept alive for its lease"
        agent.watchers["db"].refresh()
        await agent.events.until(lambda: agent.events.all(TokenRevoked))
        assert bao.lookup(old.secret) is None and bao.lookup(agent.store.auth.token().secret)


async def test_a_credential_written_again_unchanged_is_no_reason_to_log_in(
    bao: Bao, proxy: Proxy, tmp_path: Path
) -> None:
    kv = kv_with(bao, "app")
    jwt = bao_auth.jwt(bao, [policy(bao, kv.mount)], token_ttl="1h")
    file = tmp_path / "jwt"
    file.write_text(jwt.token())
    auth, changes = Jwt(mount=jwt.mount, role="app", jwt_file=file), Changes()
    async with vault(proxy.address, auth, changes=changes) as store:
        changes.changed(file)
        await store.read(ReadRequest(kv.cli("app")))
        await asyncio.sleep(0.1)
        assert logins(proxy) == 1


async def test_a_new_secret_id_is_used_at_once_and_its_removal_is_no_news(
    bao: Bao, proxy: Proxy, tmp_path: Path
) -> None:
    kv = kv_with(bao, "app")
    made = bao_auth.approle(bao, [policy(bao, kv.mount)], token_ttl="1h")
    file, changes, events = tmp_path / "secret-id", Changes(), Recorder()
    file.write_text("not-a-secret-id")
    auth = AppRole(mount=made.mount, role_id=made.role_id, secret_id_file=file)
    async with vault(
        proxy.address, auth, changes=changes, events=events, must_log_in=False
    ) as store:
        await events.until(lambda: len(events.all(LoginFailed)) >= 2)
        await asyncio.to_thread(file.write_text, made.secret_id())
        changes.changed(file)
        await events.until(lambda: events.all(LoggedIn))
        await eventually(lambda: not file.exists())
        proxy.forget()
        changes.changed(file)
        await store.read(ReadRequest(kv.cli("app")))
        await asyncio.sleep(0.1)
        assert logins(proxy) == 0
        await asyncio.to_thread(file.write_text, made.secret_id())
        changes.changed(file)
        await events.until(lambda: len(events.all(LoggedIn)) == 2)
        await eventually(lambda: not file.exists())


async def test_a_token_file_whose_token_nears_its_end_is_read_again_until_replaced(
    bao: Bao, proxy: Proxy, tmp_path: Path
) -> None:
    kv = kv_with(bao, "app")
    file, permitted = tmp_path / "token", policy(bao, kv.mount)
    first = bao.make_token(permitted, ttl="3s", renewable=False)
    file.write_text(first.id)
    changes = Changes()
    secrets = {"app": {"path": kv.cli("app"), "refresh_every": 1.0}}
    auth = TokenFile(token_file=file)
    async with watched(proxy.address, auth, secrets, changes=changes) as agent:
        await eventually(lambda: len(proxy.requests("auth/token/lookup-self")) >= 3, within=5)
        assert agent.are_fresh("app") and in_a_second(proxy) <= 15
        second = bao.make_token(permitted, ttl="1h")
        await asyncio.to_thread(file.write_text, second.id)
        changes.changed(file)
        await eventually(lambda: len(agent.events.all(LoggedIn)) == 2)
        assert agent.store.auth.token().secret == second.id
    assert bao.lookup(second.id), "it belongs to somebody else"


async def test_a_token_found_late_in_its_life_is_renewed_in_full(
    bao: Bao, proxy: Proxy, tmp_path: Path
) -> None:
    """Not for as little as was left of it, over and over."""
    token = bao.make_token("default", ttl="4s", explicit_max_ttl="1h")
    await asyncio.sleep(2.5)
    async with vault(proxy.address, TokenFile(token=token.id)) as store:
        await eventually(lambda: proxy.requests("auth/token/renew-self"))
        await eventually(lambda: store.auth.token().term.lasts == 4)  # type: ignore[union-attr]


async def test_revoke_never_spares_the_token_that_it_hangs_on(
    bao: Bao, database: MakeDatabase
) -> None:
    made = database(ttl="1h")
    auth = role(bao, policy(bao, made.mount), token_ttl="1h")
    secrets = {"db": {"path": made.path, "revoke": "never"}}
    async with watched(bao.address, auth, secrets) as agent:
        await eventually(lambda: agent.are_fresh("db"))
        token, value = agent.store.auth.token().secret, agent.value("db")
    assert bao.lookup(token) and can_log_in(made, value)


async def test_a_policy_without_revocation_leaves_it_to_the_token_and_says_so_once(
    bao: Bao, database: MakeDatabase
) -> None:
    made = database(ttl="1h")
    auth = role(bao, bao.policy({f"{made.mount}/*": ["read"]}), token_ttl="1h")
    async with watched(bao.address, auth, {"db": {"path": made.path}}) as agent:
        await eventually(lambda: agent.are_fresh("db"))
        for _ in range(2):
            await another_second()
            before = agent.lease_id("db")
            agent.watchers["db"].refresh()
            await eventually(lambda: agent.lease_id("db") != before)  # noqa: B023
        await eventually(lambda: agent.events.all(Advice))
        assert len(made.leases()) == 3
    assert len([each for each in agent.events.all(Advice) if "sys/leases" in each.text]) == 1
    await eventually(lambda: not made.leases())


async def test_leases_are_given_back_at_the_end_vault_6492(
    bao: Bao, database: MakeDatabase
) -> None:
    made = database(ttl="1h")
    auth = role(bao, policy(bao, made.mount), token_ttl="1h")
    async with watched(bao.address, auth, {"db": {"path": made.path}}) as agent:
        await eventually(lambda: agent.are_fresh("db"))
        token, value = agent.store.auth.token().secret, agent.value("db")
    assert bao.lookup(token) is None
    await eventually(lambda: not can_log_in(made, value))


async def test_a_login_under_way_at_the_end_leaves_no_token_behind(bao: Bao, proxy: Proxy) -> None:
    auth = role(bao, "default", token_ttl="1h")
    proxy.fault(faults.Delay(0.3), lambda seen: seen.path.endswith("/login"))
    before = set(bao.accessors())
    async with vault(proxy.address, auth, must_log_in=False):
        await eventually(lambda: logins(proxy) == 1)
    assert proxy.requests("auth/token/revoke-self")
    assert set(bao.accessors()) <= before


# --- a server that is gone --------------------------------------------------------------------


async def test_down_at_the_start_and_then_up(bao: Bao, proxy: Proxy) -> None:
    """vault#28305, nomad#28366: could not start while the vault was down."""
    kv, events = kv_with(bao, "app"), Recorder()
    auth = role(bao, policy(bao, kv.mount))
    await proxy.refuse()
    secrets = {"app": {"path": kv.cli("app")}}
    async with watched(proxy.address, auth, secrets, events=events, must_log_in=False) as agent:
        await events.until(lambda: events.all(StoreDown))
        await eventually(lambda: (agent.entry("app").reason or "").startswith("can't connect"))
        await proxy.start()
        await eventually(lambda: agent.are_fresh("app"), within=3)
        assert len(events.all(StoreDown)) == len(events.all(StoreBack)) == len(events.all(LoggedIn))


async def test_gone_for_a_minute_it_is_asked_less_than_once_a_second_and_found_at_once(
    bao: Bao, database: MakeDatabase, proxy: Proxy, clock: JumpClock
) -> None:
    """20 secrets of which many fall due meanwhile."""
    made = database(ttl="1h")
    names = [f"app{number}" for number in range(20)]
    kv = kv_with(bao, *names)
    auth = role(bao, policy(bao, kv.mount, made.mount), token_ttl="1h")
    secrets: dict[str, dict[str, object]] = {
        name: {"path": kv.cli(name), "refresh_every": 10.0} for name in names
    }
    secrets["db"] = {"path": made.path}
    clock.idle_seconds = 0.02
    async with watched(proxy.address, auth, secrets, clock=clock) as agent:
        await eventually(agent.are_fresh)
        lease = agent.lease_id("db")
        proxy.fault(faults.Reset(is_asked=False))
        proxy.forget()
        await clock.advance(60)
        assert len(proxy.seen) < 60, len(proxy.seen)
        assert all(agent.entry(name).is_usable for name in names)
        assert [agent.entry(name).kind for name in names] == ["outage"] * 20
        proxy.heal()
        proxy.forget()
        await clock.advance(3 + 3)  # found within three, and the twenty not all at once
        await eventually(agent.are_fresh)
        assert len(proxy.seen) <= 2 + 20 and logins(proxy) == 0
        assert agent.lease_id("db") == lease
        (down,), (back,) = agent.events.all(StoreDown), agent.events.all(StoreBack)
        assert down.reason and 50 < back.down_seconds <= 64


async def test_gone_longer_than_the_token_lives(bao: Bao, proxy: Proxy, clock: JumpClock) -> None:
    kv = kv_with(bao, "app")
    auth = role(bao, policy(bao, kv.mount), token_ttl="60s", token_max_ttl="1h")
    secrets = {"app": {"path": kv.cli("app"), "refresh_every": 10.0}}
    clock.idle_seconds = 0.02
    async with watched(proxy.address, auth, secrets, clock=clock) as agent:
        await eventually(agent.are_fresh)
        with proxy.faulty(faults.Reset(is_asked=False)):
            await clock.advance(300)
            assert agent.entry("app").is_usable and not agent.store.auth.is_logged_in
        proxy.forget()
        await clock.run_until(agent.are_fresh, within=20)
        assert logins(proxy) == 1
        assert not [seen for seen in proxy.seen if seen.status == 403], "a dead token is not tried"


async def test_a_server_that_starts_again_with_its_data_is_used_on(bao_server: MakeServer) -> None:
    server = bao_server()
    kv = kv_with(server.bao, "app")
    auth = role(server.bao, policy(server.bao, kv.mount), token_ttl="1h")
    secrets = {"app": {"path": kv.cli("app"), "refresh_every": 1.0}}
    async with watched(server.address, auth, secrets) as agent:
        await eventually(lambda: agent.are_fresh("app"))
        token = agent.store.auth.token()
        await asyncio.to_thread(server.kill)
        await agent.events.until(lambda: agent.events.all(StoreDown))
        await asyncio.to_thread(server.start, unseal=False)
        await eventually(lambda: agent.entry("app").kind == "sealed")
        await asyncio.to_thread(server.unseal)
        await eventually(lambda: agent.are_fresh("app"), within=5)
        assert agent.store.auth.token() is token, "no new login"
