"""The way to the server: TLS, sockets, namespaces, time limits, and everything that breaks."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.config.model import Budget, Cert, Tls
from agent.core.errors import (
    ConfigurationError,
    Denied,
    Invalid,
    Missing,
    Outage,
    RateLimited,
    Sealed,
    StoreError,
)
from agent.core.events import Advice, LoggedIn, StoreBack, StoreDown
from agent.core.lease import Lease, Term
from agent.stores.base import ReadRequest
from agent.stores.vault.replies import MAX_BODY
from agent.stores.vault.store import Vault
from tests.rig import bao_auth, faults
from tests.rig.bao_client import Bao, Kv
from tests.rig.bao_server import ROOT_TOKEN, Server
from tests.rig.faults import Answer, Cut, Fault, Hang, Reset
from tests.rig.openbao import MakeServer
from tests.rig.proxy import Proxy, path
from tests.rig.raw_server import talking
from tests.rig.stores import Changes, Recorder, ready, root, vault
from tests.rig.tls import Authority
from tests.rig.waiting import eventually

ROOT = root(ROOT_TOKEN)
SECRET = "s3cret-value"


def entry(bao: Bao) -> Kv:
    kv = bao.kv(1)
    kv.put("app", password=SECRET)
    return kv


async def login_failure(address: str, **options: object) -> StoreDown:
    """Why the server can't be had."""
    events = Recorder()
    async with vault(address, ROOT, events=events, must_log_in=False, **options):  # type: ignore[arg-type]
        await events.until(lambda: events.all(StoreDown))
    down: StoreDown = events.all(StoreDown)[0]
    return down


# --- TLS --------------------------------------------------------------------------------------


def tls(server: Server, **more: object) -> Tls:
    """To a server whose certificate is for bao.example."""
    return Tls(ca_file=server.ca_file, server_name="bao.example", **more)  # type: ignore[arg-type]


async def test_tls_with_an_authority_of_ones_own_and_nothing_else(
    bao_server: MakeServer, tmp_path: Path
) -> None:
    server = bao_server(tls=True)
    kv, auth = entry(server.bao), root(server.bao.token)
    async with vault(server.address, auth, tls=tls(server)) as store:
        assert (await store.read(ReadRequest(kv.cli("app")))).value["password"] == SECRET
    by_address = Tls(ca_file=server.ca_file)
    async with vault(server.address, auth, tls=by_address) as store:
        await store.read(ReadRequest(kv.cli("app")))

    down = await login_failure(server.address, tls=Tls())
    assert "certificate is not trusted" in down.reason
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    down = await login_failure(server.address, tls=Tls(ca_file=other.ca_file))
    assert "certificate is not trusted" in down.reason
    wrong_name = Tls(ca_file=server.ca_file, server_name="evil.example")
    down = await login_failure(server.address, tls=wrong_name)
    assert "evil.example" in down.reason


async def test_files_of_tls_that_are_replaced_are_used(
    bao_server: MakeServer, authority: Authority, tmp_path: Path
) -> None:
    """The trusted authority, and a client certificate that logs in anew with its successor."""
    server = bao_server(tls=True)
    kv = entry(server.bao)
    policy = server.bao.policy({f"{kv.mount}/*": ["read"]})
    mount = bao_auth.cert(server.bao, authority, [policy])
    cert_file, key_file = tmp_path / "app.pem", tmp_path / "app.key"

    def install(name: str) -> None:
        pair = authority.issue(name, is_client=True)
        shutil.copy(pair.cert_file, cert_file)
        shutil.copy(pair.key_file, key_file)

    install("first")
    changes, events = Changes(), Recorder()
    own = tls(server, cert_file=cert_file, key_file=key_file)
    async with vault(
        server.address, Cert(mount=mount), tls=own, changes=changes, events=events
    ) as store:
        before = store.auth.token()
        await asyncio.to_thread(key_file.write_text, "half of a replacement")
        changes.changed(key_file)
        await events.until(lambda: events.all(Advice))
        await store.read(ReadRequest(kv.cli("app")))
        await asyncio.to_thread(install, "second")
        changes.changed(cert_file)
        await events.until(lambda: len(events.all(LoggedIn)) == 2)
        token = server.bao.lookup(store.auth.token().secret)
        assert token is not None and token["meta"]["common_name"] == "second"
        assert store.auth.token() is not before
    assert not any("half of" in str(event) for event in events)


@pytest.mark.parametrize("broken", ["ca_file", "cert_file"])
@pytest.mark.parametrize("how", ["missing", "no PEM"])
async def test_files_of_tls_that_can_not_be_used_are_said_before_anything_is_sent(
    authority: Authority, tmp_path: Path, broken: str, how: str
) -> None:
    pair = authority.issue("app", is_client=True)
    files: dict[str, Any] = {
        "ca_file": authority.ca_file,
        "cert_file": pair.cert_file,
        "key_file": pair.key_file,
    }
    files[broken] = tmp_path / "broken.pem"
    if how == "no PEM":
        files[broken].write_text("not a certificate")
    with pytest.raises(ConfigurationError) as caught:
        async with vault("https://127.0.0.1:1", ROOT, tls=Tls(**files)):
            pass
    assert f"stores.vault.tls.{broken}" in str(caught.value)


# --- other ways in ----------------------------------------------------------------------------


async def test_a_unix_socket(bao_server: MakeServer) -> None:
    server = bao_server(unix=True)
    kv = entry(server.bao)
    async with vault(f"unix:{server.socket}", root(server.bao.token)) as store:
        assert (await store.read(ReadRequest(kv.cli("app")))).value["password"] == SECRET


async def test_a_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    down = await login_failure(f"unix:{tmp_path}/none.sock")
    assert "can't connect" in down.reason and str(tmp_path) not in down.reason


async def test_a_namespace(bao: Bao, proxy: Proxy) -> None:
    team = bao.within("team-a")
    try:
        kv = entry(team)
        async with vault(proxy.address, ROOT, namespace="team-a") as store:
            assert (await store.read(ReadRequest(kv.cli("app")))).value["password"] == SECRET
            with proxy.faulty(faults.SEALED), pytest.raises(Sealed):
                await store.read(ReadRequest(kv.cli("app")))
            await reading_again(store, kv)
        assert {seen.status for seen in proxy.requests("sys/health")} <= {200, 503}
    finally:
        team.close()


async def test_a_namespace_is_not_left(bao: Bao) -> None:
    kv = entry(bao)
    team = bao.within("team-b")
    team.close()
    async with vault(bao.address, ROOT, namespace="team-b") as store:
        with pytest.raises((Denied, Missing)):
            await store.read(ReadRequest(kv.cli("app")))


# --- everything that breaks -------------------------------------------------------------------


async def reading_again(store: Vault, kv: Kv) -> None:
    """Until the store is let through, and answers."""
    async with asyncio.timeout(10):
        while True:
            try:
                await store.read(ReadRequest(kv.cli("app")))
            except Outage:
                await eventually(lambda: store.is_ready)
            else:
                return


BODY = f"errors of a plugin with {SECRET}".encode()
FAULTS: list[tuple[Fault, type[StoreError], bool]] = [
    (Hang(), Outage, True),
    (Reset(is_asked=False), Outage, True),
    (Reset(body_bytes=10), Outage, True),
    (Cut(10), Outage, True),
    (Cut(0), Outage, True),
    (faults.rate_limited(1), RateLimited, True),
    (faults.errors(503, "busy", Retry_After="1"), RateLimited, True),
    (faults.errors(429, "busy"), RateLimited, True),
    (faults.SEALED, Sealed, True),
    (Answer(501, BODY), Sealed, True),
    (Answer(500, BODY), Outage, False),
    (Answer(502, BODY), Outage, True),
    (Answer(504, BODY), Outage, True),
    (Answer(412, BODY), Outage, True),
    (Answer(301, BODY, {"Location": "/elsewhere"}), Outage, True),
    (Answer(400, BODY), Invalid, False),
    (Answer(405, BODY), Invalid, False),
    (Answer(403, BODY), Denied, False),
    (Answer(401, BODY), Denied, False),
    (Answer(404, BODY), Missing, False),
    (Answer(418, BODY), Outage, True),
    (faults.NOT_JSON, Outage, True),
    (faults.WRONG_JSON, Outage, True),
    (Answer(200, b"[1, 2]"), Outage, True),
    (Answer(200, b'{"data": ["' + BODY + b'"]}'), Outage, True),
    (Answer(200, b'{"data": {"a": "b"}, "lease_duration": "soon", "lease_id": "x"}'), Outage, True),
    (Answer(200, b"[" * 200_000), Outage, True),
    (Answer(200, b"\xff\xfe\x00"), Outage, True),
    (Answer(200, b""), Invalid, False),
    (Answer(200, b'{"data": null}'), Invalid, False),
    (faults.HUGE, Outage, False),
]


@pytest.mark.parametrize(
    ("fault", "kind", "is_store_wide"), FAULTS, ids=lambda each: str(each)[:40]
)
async def test_every_fault_has_its_error_and_no_body_in_it(
    bao: Bao, proxy: Proxy, fault: Fault, kind: type[StoreError], is_store_wide: bool
) -> None:
    kv = entry(bao)
    async with vault(proxy.address, ROOT, timeout=0.5 if isinstance(fault, Hang) else 10) as store:
        await store.read(ReadRequest(kv.cli("app")))
        proxy.fault(fault, lambda seen: seen.path.startswith(kv.mount), times=3)
        with pytest.raises(kind) as caught:
            await store.read(ReadRequest(kv.cli("app")))
        error = caught.value
        assert type(error) is kind
        if isinstance(error, Outage):
            assert error.is_store_wide == is_store_wide
        assert store.is_ready != is_store_wide
        said = f"{error} {error!r} {error.__cause__} {error.__context__}"
        assert SECRET not in said and ROOT_TOKEN not in error.reason
        assert kv.mount in str(error) and "vault" in str(error)


async def test_a_server_that_refuses_connections(bao: Bao, proxy: Proxy) -> None:
    kv, events = entry(bao), Recorder()
    async with vault(proxy.address, ROOT, events=events) as store:
        await store.read(ReadRequest(kv.cli("app")))
        await proxy.refuse()
        with pytest.raises(Outage, match=r"can't connect|closed"):
            await store.read(ReadRequest(kv.cli("app")))
        assert store.trouble is not None and not store.is_ready
        with pytest.raises(Outage):
            await store.read(ReadRequest(kv.cli("app")))
        await proxy.start()
        await ready(store, events)
        await store.read(ReadRequest(kv.cli("app")))
        assert len(events.all(StoreDown)) == len(events.all(StoreBack)) == 1


async def test_a_body_is_bounded_while_it_is_read(bao: Bao, proxy: Proxy) -> None:
    assert len(faults.HUGE.body) > MAX_BODY
    async with vault(proxy.address, ROOT) as store:
        proxy.fault(faults.HUGE, lambda seen: seen.path.startswith("sys/"), times=1)
        with pytest.raises(Outage, match="larger than 32 MiB"):
            await store.read(ReadRequest("sys/mounts"))


async def test_retry_after_is_honoured_by_all_secrets(bao: Bao, proxy: Proxy) -> None:
    """consul-template and others ask on."""
    kv, events = entry(bao), Recorder()
    async with vault(proxy.address, ROOT, events=events) as store:
        await store.read(ReadRequest(kv.cli("app")))
        proxy.fault(faults.rate_limited(1), times=1)
        proxy.forget()
        with pytest.raises(RateLimited):
            await store.read(ReadRequest(kv.cli("app")))
        for _ in range(20):
            with pytest.raises(Outage):
                await store.read(ReadRequest(kv.cli("app")))
        await ready(store, events)
        limited, health = proxy.seen
        assert health.path.startswith("sys/health") and health.at - limited.at >= 1


async def test_a_standby_points_to_its_leader(
    bao: Bao, make_proxy: Callable[[str], object]
) -> None:
    kv = entry(bao)
    standby = await make_proxy(bao.address)  # type: ignore[misc]
    assert isinstance(standby, Proxy)
    location = {"Location": f"{bao.address}/v1/{kv.mount}/app"}
    async with vault(standby.address, ROOT) as store:
        await store.read(ReadRequest(kv.cli("app")))
        standby.fault(Answer(307, b"", location), lambda seen: seen.path.startswith(kv.mount))
        assert (await store.read(ReadRequest(kv.cli("app")))).value["password"] == SECRET


async def test_a_standby_that_reads_by_itself_while_its_leader_is_gone(
    bao: Bao, proxy: Proxy
) -> None:
    """What needs the leader fails at its own pace, and what the standby reads goes on."""
    kv = entry(bao)
    leader = {"Location": "http://127.0.0.1:1/v1/leader"}
    events = Recorder()
    async with vault(proxy.address, ROOT, events=events) as store:
        proxy.fault(Answer(307, b"", leader), path("sys/leases/renew"))
        lease = Lease("x/1", Term(0.0, 60.0, True, 60.0))
        for attempt in range(3):
            with pytest.raises(
                Outage, match=r"the leader that it points to, 127\.0\.0\.1:1: can't"
            ):
                await store.renew(lease)
            await ready(store, events)
            await store.read(ReadRequest(kv.cli("app")))
            assert len(events.all(StoreDown)) == 1, attempt


async def test_a_redirect_in_a_circle_ends(bao: Bao, proxy: Proxy) -> None:
    location = {"Location": f"{proxy.address}/v1/sys/mounts"}
    async with vault(proxy.address, ROOT) as store:
        proxy.fault(Answer(307, b"", location), lambda seen: seen.path.startswith("sys/mounts"))
        with pytest.raises(Outage, match="redirected too often"):
            await store.read(ReadRequest("sys/mounts"))
        assert len(proxy.requests("sys/mounts")) == 4


async def test_the_token_never_follows_a_redirect_to_plain_http(
    bao_server: MakeServer, proxy: Proxy, authority: Authority
) -> None:
    """A TLS front that points to http: the request stays where it is."""
    pair = authority.issue("front")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert_file, pair.key_file)

    async def front(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        target = f"{proxy.address}/v1/auth/token/lookup-self"
        writer.write(f"HTTP/1.1 307 X\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(front, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        down = await login_failure(f"https://127.0.0.1:{port}", tls=Tls(ca_file=authority.ca_file))
    assert "another scheme" in down.reason
    assert proxy.seen == []


@pytest.mark.parametrize(
    "words",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 307 X\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 429 X\r\nRetry-After: tomorrow\r\nContent-Length: 0\r\n\r\n",
        b"\x00" * 70_000,
        b"",
    ],
)
async def test_a_stranger_at_the_address_is_an_outage(words: bytes) -> None:
    async with talking(words) as address:
        down = await login_failure(address)
    assert down.reason


async def test_a_request_that_hangs_ends_in_time(bao: Bao, proxy: Proxy) -> None:
    kv = entry(bao)
    async with vault(proxy.address, ROOT, timeout=0.3) as store:
        await store.read(ReadRequest(kv.cli("app")))
        proxy.fault(Hang(), lambda seen: seen.path.startswith(kv.mount))
        async with asyncio.timeout(2):
            with pytest.raises(Outage, match="no answer in time"):
                await store.read(ReadRequest(kv.cli("app")))


async def test_no_more_requests_are_under_way_than_the_budget_allows(
    bao: Bao, proxy: Proxy
) -> None:
    kv = entry(bao)
    budget = Budget(per_second=1000, burst=1000, concurrent=3)
    async with vault(proxy.address, ROOT, budget=budget) as store:
        proxy.fault(faults.Delay(0.05), lambda seen: seen.path.startswith(kv.mount))
        async with asyncio.TaskGroup() as group:
            for _ in range(12):
                group.create_task(store.read(ReadRequest(kv.cli("app"))))
        assert proxy.most_connections <= 3


async def test_after_its_end_a_store_says_so_and_crashes_nobody(bao: Bao) -> None:
    kv = entry(bao)
    async with vault(bao.address, ROOT) as store:
        token = store.auth.token()
    with pytest.raises(StoreError):
        await store.read(ReadRequest(kv.cli("app")))
    with pytest.raises(Outage, match="closed"):
        await token.client.lookup_self()
