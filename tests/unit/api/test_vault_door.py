"""The Vault-compatible door by itself: what a request asks, by what right it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any
from urllib.parse import quote, unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.access import Rules
from agent.api.caller import ON_TCP, Caller
from agent.api.http import Answer, Reply, Request
from agent.api.http.message import Headers
from agent.api.vault import VaultDoor
from agent.api.vault.asking import asked, path_of
from agent.api.vault.held import possible_paths
from agent.api.vault.words import Refused
from agent.config.listener_model import PathRule, VaultListener, VaultRule
from agent.config.model import SecretEntry
from agent.core.lease import Lease, Term
from agent.core.secret import Reading, Secret
from agent.ledger import Ledger
from agent.stores.vault.envelope import Envelope
from tests.rig.clock import JumpClock
from tests.rig.waiting import eventually

APP, OTHER = Caller(uid=1001), Caller(uid=1002)


class Whole:
    """A small answer of the server."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self._body = status, body
        self.headers: Headers = (("Content-Type", "application/json"),)

    @property
    def is_small(self) -> bool:
        return True

    async def whole(self) -> bytes:
        return self._body

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise AssertionError("it is small")

    async def __anext__(self) -> bytes:
        raise AssertionError("it is small")

    async def aclose(self) -> None:
        return None


class Vault:
    """Writes down by whose right it was asked what; answers at `go`."""

    namespace = "team"

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, dict[str, str]]] = []
        self.go = asyncio.Event()
        self.go.set()

    async def has_been_asked(self, times: int) -> None:
        await eventually(lambda: len(self.asked) >= times)

    async def with_our_token(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Whole:
        self.asked.append(("ours", method, path, dict(headers)))
        await self.go.wait()
        return Whole(200, b"{}")

    async def as_it_is(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        is_urgent: bool = False,
    ) -> Whole:
        self.asked.append(("public" if is_urgent else "theirs", method, path, dict(headers)))
        await self.go.wait()
        return Whole(200, b"{}")

    async def own_token(self) -> dict[str, object]:
        return {"ttl": 60, "renewable": True, "policies": ["app"]}


class Site:
    """A door with a KV v2 secret `one` and a leased one `creds`, and rules for uid 1001."""

    def __init__(self, **spec: Any) -> None:
        self.clock = JumpClock()
        self.ledger, self.vault = Ledger(self.clock), Vault()
        opened = {
            "kv/data/open/*": ("read", "create", "update", "delete", "patch"),
            "kv/metadata/open/*": ("list",),
            "below/kv/data/a": ("read",),
            "*": ("read",),
            "+/health/+": ("read",),
            "sys/mounts": ("read",),
            "new/*": ("create",),
        }
        rule = VaultRule(
            user="1001",
            secrets=("one", "creds", "cert"),
            paths=tuple(PathRule(path=path, capabilities=each) for path, each in opened.items()),  # type: ignore[arg-type]
        )
        self.spec = VaultListener(store="vault", socket="/run/v.sock", allow=(rule,), **spec)
        self.rules = Rules(self.spec.allow)
        self.door = VaultDoor(
            "v",
            self.spec,
            self.ledger,
            rules=lambda: self.rules,
            upstream=lambda: self.vault,
            clock=self.clock,
        )
        self.entries = {
            "one": SecretEntry(path="kv/one", store="vault"),
            "creds": SecretEntry(path="db/creds/app", store="vault"),
            "cert": SecretEntry(path="pki/issue/web", store="vault", data={"cn": "a"}),
            "secret": SecretEntry(path="kv/secret", store="vault"),
            "elsewhere": SecretEntry(path="kv/two", store="other"),
        }
        self.door.use(self.spec, self.entries)
        metadata = {"version": 3, "created_time": "2026"}
        for name in ("one", "secret"):
            self.put(name, Envelope(f"kv/data/{name}", "kv", 2, metadata=metadata))
        lease = Lease("db/creds/app/1", Term(self.clock.now(), 3600.0, True, 3600.0))
        self.put("creds", Envelope("db/creds/app", lease_duration=3600), lease)
        self.put("cert", Envelope("pki/issue/web"))

    def put(self, name: str, envelope: Envelope, lease: Lease | None = None) -> None:
        reading = Reading(
            Secret({"password": f"of {name}"}), "3", lease, envelope=msgspec.json.encode(envelope)
        )
        self.ledger.record(name, reading, None if lease is None else lease.term.ends_at)

    def request(
        self,
        path: str,
        method: str = "GET",
        *,
        caller: Caller = APP,
        body: object = None,
        **headers: str,
    ) -> Request:
        path, _, query = path.partition("?")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = b"" if body is None else msgspec.json.encode(body)
        return Request(method, path, query, headers=named, body=content, caller=caller, id="7")

    async def ask(self, path: str, method: str = "GET", **more: Any) -> tuple[int, Any]:
        """Status and content of the answer; `request.record` is in `self.record`."""
        request = self.request(f"/v1/{path}", method, **more)
        reply: Answer | Awaitable[Reply] = self.door.answer(request)
        self.record = request.record
        answer = reply if isinstance(reply, Answer) else await reply
        assert isinstance(answer, Answer)
        return answer.status, msgspec.json.decode(answer.body)


@pytest.fixture
async def site() -> Site:
    return Site()


# --- paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/v1/kv//data/a",
        "/v1/kv/../sys/mounts",
        "/v1/kv/%2e%2e/sys/mounts",
        "/v1/kv/./a",
        "/v1/kv%2fdata%2Fa",
        "/v1/kv/a%00",
        "/v1/kv/a%0d%0aX",
        "/v1/kv\\..\\a",
        "/v1//sys/mounts",
        "/v1/../v1/kv/a",
        "/v1/kv/%ff",
        "/v1/kv/\xe9",
        "/v1/",
        "/v1/..",
    ],
)
def test_a_path_that_could_mean_another_is_refused(path: str) -> None:
    with pytest.raises(Refused) as refused:
        path_of(path)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "path", ["/V1/kv/a", "/v2/kv/a", "/", "/v1", "*", "/ui/", "/agent/v1/quit"]
)
def test_there_is_nothing_outside_of_the_api(path: str) -> None:
    with pytest.raises(Refused) as refused:
        path_of(path)
    assert refused.value.status == 404


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_the_server_sees_the_path_that_was_judged(text: str) -> None:
    request = Request("GET", f"/v1/{quote(text)}", headers={}, caller=APP)
    try:
        wanted = asked(request)
    except Refused:
        return
    assert wanted.path == text
    assert unquote(wanted.target) == f"/v1/{text}"
    assert not {"", ".", ".."}.intersection(wanted.path.removesuffix("/").split("/"))


@given(st.binary(max_size=40))
def test_whatever_is_sent_as_a_path_is_judged_or_refused(raw: bytes) -> None:
    request = Request("GET", f"/v1/{raw.decode('latin-1')}", headers={}, caller=APP)
    try:
        target = asked(request).target
    except Refused:
        return
    assert target.isascii() and target.isprintable() and " " not in target


@pytest.mark.parametrize(
    ("method", "query", "capabilities"),
    [
        ("GET", "", ("read",)),
        ("GET", "version=1", ("read",)),
        ("GET", "list=true", ("list",)),
        ("GET", "l%69st=t", ("list",)),
        ("GET", "a=b&list=1", ("list",)),
        ("GET", "list=false", ("read",)),
        ("GET", "scan=true", ()),
        ("LIST", "", ("list",)),
        ("POST", "", ("create", "update")),
        ("PUT", "list=true", ("create", "update")),
        ("PATCH", "", ("patch",)),
        ("DELETE", "", ("delete",)),
    ],
)
def test_capabilities(method: str, query: str, capabilities: tuple[str, ...]) -> None:
    request = Request(method, "/v1/kv/a", query, headers={}, caller=APP)
    assert asked(request).capabilities == capabilities


@pytest.mark.parametrize("query", ["list=yes", "list=false&list=true", "list=true;a", "list=%zz"])
def test_a_query_that_others_may_read_otherwise_is_refused(query: str) -> None:
    with pytest.raises(Refused):
        asked(Request("GET", "/v1/kv/a", query, headers={}, caller=APP))


def test_every_form_of_a_path_is_looked_for() -> None:
    assert set(possible_paths("kv/app")) == {"kv/app", "kv/data/app"}
    assert set(possible_paths("kv/data/app")) >= {"kv/data/app", "kv/app", "kv/data/data/app"}


# --- from the ledger ----------------------------------------------------------------------------


async def test_what_is_held_is_told_without_the_vault(site: Site) -> None:
    status, told = await site.ask("kv/data/one")
    assert status == 200
    assert told["data"] == {
        "data": {"password": "of one"},
        "metadata": {"version": 3, "created_time": "2026"},
    }
    assert not site.vault.asked
    assert (site.record.secret, site.record.version, site.record.rule) == ("one", "3", 1)
    assert (site.record.path, site.record.capability) == ("kv/data/one", "read")


async def test_an_unchanged_answer_is_made_once(site: Site) -> None:
    request = site.request("/v1/kv/data/one")
    assert site.door.answer(request) is site.door.answer(request)


async def test_the_time_of_a_lease_runs_down(site: Site) -> None:
    _, told = await site.ask("db/creds/app")
    assert (told["lease_id"], told["lease_duration"], told["renewable"]) == (
        "db/creds/app/1",
        3600,
        True,
    )
    await site.clock.advance(600)
    assert (await site.ask("db/creds/app"))[1]["lease_duration"] == 3000


@pytest.mark.parametrize(("query", "is_held"), [("version=3", True), ("version=0", True)])
async def test_the_version_that_is_held(site: Site, query: str, is_held: bool) -> None:
    status, _ = await site.ask(f"kv/data/one?{query}")
    assert (status == 200) is is_held and not site.vault.asked


@pytest.mark.parametrize("query", ["version=2", "version=3&version=2", "version=03", "other=1"])
async def test_another_version_is_not_that(site: Site, query: str) -> None:
    site.rules = Rules((VaultRule(secrets=("one",)),))
    assert (await site.ask(f"kv/data/one?{query}"))[0] == 403


async def test_a_write_is_answered_by_the_very_same_body_only(site: Site) -> None:
    status, told = await site.ask("pki/issue/web", "POST", body={"cn": "a"})
    assert (status, told["data"]["password"]) == (200, "of cert")
    assert (await site.ask("pki/issue/web", "PUT", body={"cn": "a"}))[0] == 200
    others: tuple[object, ...] = ({"cn": "b"}, {"cn": "a", "ttl": "1h"}, [], None)
    for body in others:
        assert (await site.ask("pki/issue/web", "POST", body=body))[0] == 403
    assert not site.vault.asked


async def test_what_is_not_the_callers_and_what_is_not_there_are_alike(site: Site) -> None:
    site.rules = Rules((VaultRule(user="1001", secrets=("one",)),))
    told = [
        await site.ask(path, caller=caller)
        for path, caller in (
            ("kv/data/secret", APP),
            ("kv/data/nothing", APP),
            ("kv/data/one", OTHER),
            ("kv/data/two", APP),
            ("kv/one", APP),
            ("sys/internal/ui/mounts/kv/secret", APP),
            ("auth/token/lookup-self", OTHER),
        )
    ]
    assert told == [(403, {"errors": ["permission denied"]})] * 7
    assert not site.vault.asked and site.record.decision == "denied"


async def test_one_that_is_not_had_yet_is_to_be_asked_for_again(site: Site) -> None:
    site.ledger.remove("creds")
    assert (await site.ask("db/creds/app"))[0] == 503
    site.ledger.stale("creds", "denied", "denied")
    assert (await site.ask("db/creds/app"))[0] == 403
    site.ledger.stale("creds", "nothing there", "missing")
    assert await site.ask("db/creds/app") == (404, {"errors": []})


async def test_the_kv_commands_learn_of_the_mount(site: Site) -> None:
    for path in ("kv/one", "kv/data/one"):
        _, told = await site.ask(f"sys/internal/ui/mounts/{path}")
        assert told["data"]["path"] == "kv/" and told["data"]["options"] == {"version": "2"}
    assert not site.vault.asked


async def test_new_rules_hold_at_once(site: Site) -> None:
    assert (await site.ask("kv/data/one"))[0] == 200
    site.rules = Rules(())
    assert (await site.ask("kv/data/one"))[0] == 403


# --- leases and the agent's token ---------------------------------------------------------------


@pytest.mark.parametrize("place", ["sys/leases/renew", "sys/renew"])
@pytest.mark.parametrize("in_path", [True, False])
async def test_a_lease_is_renewed_by_the_agent(site: Site, place: str, in_path: bool) -> None:
    lease = "db/creds/app/1"
    path = f"{place}/{lease}" if in_path else place
    body = {"increment": 5} if in_path else {"lease_id": lease}
    status, told = await site.ask(path, "PUT", body=body)
    assert (status, told["lease_id"], told["lease_duration"]) == (200, lease, 3600)
    assert (await site.ask(path, "PUT", body=body, caller=OTHER))[0] == 403
    assert not site.vault.asked


async def test_a_lease_is_looked_up_and_not_revoked(site: Site) -> None:
    body = {"lease_id": "db/creds/app/1"}
    _, told = await site.ask("sys/leases/lookup", "POST", body=body)
    assert (told["data"]["id"], told["data"]["ttl"]) == ("db/creds/app/1", 3600)
    every = {"sys/leases/revoke": ("create", "update")}
    rule = VaultRule(
        secrets=("*",),
        paths=tuple(PathRule(path=path, capabilities=each) for path, each in every.items()),  # type: ignore[arg-type]
    )
    site.rules = Rules((rule,))
    assert (await site.ask("sys/leases/revoke", "POST", body=body))[0] == 403
    assert not site.vault.asked
    other = {"lease_id": "db/creds/app/2"}
    assert (await site.ask("sys/leases/revoke", "POST", body=other))[0] == 200


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("auth/token/lookup-self", "GET", {}, 200),
        ("auth/token/renew-self", "PUT", {}, 200),
        ("auth/token/revoke-self", "PUT", {}, 403),
        ("auth/token/lookup-self", "GET", {"x_vault_wrap_ttl": "60"}, 403),
        ("auth/token/lookup-self", "GET", {"x_vault_namespace": "team/below"}, 403),
        ("below/auth/token/lookup-self", "GET", {}, 403),
        ("auth/token/renew-self", "PUT", {"x_vault_namespace": "elsewhere"}, 403),
        ("auth/token/lookup-self", "PUT", {}, 405),
    ],
)
async def test_the_agents_token(
    site: Site, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    everything = {path: ("read", "create", "update")}
    rule = VaultRule(
        paths=tuple(PathRule(path=each, capabilities=may) for each, may in everything.items())  # type: ignore[arg-type]
    )
    site.rules = Rules((rule,))
    assert (await site.ask(path, method, **headers))[0] == status
    assert not site.vault.asked


# --- passing on ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "method", "is_allowed"),
    [
        ("kv/data/open/a", "GET", True),
        ("kv/data/open/a", "POST", True),
        ("kv/data/open/a", "DELETE", True),
        ("kv/data/open/a", "PATCH", True),
        ("kv/data/open/a", "LIST", False),
        ("kv/metadata/open", "LIST", True),
        ("kv/metadata/open/?list=true", "GET", True),
        ("kv/metadata/open/a?scan=true", "GET", False),
        ("kv/anything", "GET", True),
        ("kv/anything", "PUT", False),
        ("new/a", "PUT", False),
        ("sys/mounts", "GET", True),
        ("sys/policies", "GET", False),
        ("sys/health/x", "GET", False),
        ("auth/token/accessors", "LIST", False),
        ("below/sys/mounts", "GET", False),
    ],
)
async def test_paths_that_rules_open(site: Site, path: str, method: str, is_allowed: bool) -> None:
    status, _ = await site.ask(path, method)
    assert status == (200 if is_allowed else 403)
    assert [who for who, *_ in site.vault.asked] == (["ours"] if is_allowed else [])
    assert (await site.ask(path, method, caller=OTHER))[0] == 403


async def test_what_is_sent_along(site: Site) -> None:
    await site.ask(
        quote("kv/data/open/ä b"),
        cookie="a",
        x_forwarded_for="b",
        x_vault_mfa="m",
        content_type="t",
    )
    who, method, path, headers = site.vault.asked[0]
    assert (who, method, path) == ("ours", "GET", "/v1/kv/data/open/%C3%A4%20b")
    assert headers == {
        "content-type": "t",
        "x-vault-mfa": "m",
        "X-Vault-Namespace": "team",
        "X-Correlation-Id": "7",
    }


@pytest.mark.parametrize(
    ("namespace", "path", "status"),
    [
        ("team", "kv/data/open/a", 200),
        ("team/", "kv/data/one", 200),
        ("team/below", "kv/data/a", 200),
        ("team/below", "kv/data/one", 200),  # by the rule `*`, not from the ledger
        ("other", "kv/data/open/a", 403),
        ("root", "kv/data/open/a", 403),
        ("team/below", "sys/mounts", 403),
        ("team/../other", "kv/data/open/a", 400),
        ("teamster", "kv/data/open/a", 403),
    ],
)
async def test_namespaces(site: Site, namespace: str, path: str, status: int) -> None:
    assert (await site.ask(path, x_vault_namespace=namespace))[0] == status
    for *_, headers in site.vault.asked:
        assert headers["X-Vault-Namespace"] == namespace.strip("/")


@pytest.mark.parametrize(
    "headers",
    [{"x_vault_token": "t"}, {"authorization": "Bearer t"}, {"authorization": "bearer t"}],
)
async def test_a_token_of_the_callers_own_is_passed_on(site: Site, headers: dict[str, str]) -> None:
    for path in ("kv/data/one", "sys/mounts", "auth/token/lookup-self"):
        assert (await site.ask(path, caller=OTHER, **headers))[0] == 200
    assert [each[0] for each in site.vault.asked] == ["theirs"] * 3
    assert {each[3]["X-Vault-Token"] for each in site.vault.asked} == {"t"}
    refusing = Site(pass_tokens=False)
    assert (await refusing.ask("kv/data/one", **headers))[0] == 403
    assert not refusing.vault.asked


async def test_a_login_is_passed_on_without_a_token(site: Site) -> None:
    for path in ("auth/approle/login", "auth/team/userpass/login/me"):
        assert (await site.ask(path, "POST", body={"a": 1}, caller=OTHER))[0] == 200
    assert [each[0] for each in site.vault.asked] == ["theirs"] * 2
    assert not any("X-Vault-Token" in each[3] for each in site.vault.asked)
    for path in ("auth/token/create", "auth/approle/role/login/secret-id/x/y", "auth/login"):
        assert (await site.ask(path, "POST", body={}, caller=OTHER))[0] == 403
    assert (await Site(pass_tokens=False).ask("auth/approle/login", "POST"))[0] == 403


@pytest.mark.parametrize("path", ["sys/health?standbyok=true", "sys/seal-status", "sys/leader"])
async def test_the_servers_state_is_everybodys(site: Site, path: str) -> None:
    assert (await site.ask(path, caller=OTHER))[0] == 200
    assert site.vault.asked == [("public", "GET", f"/v1/{path}", {})]
    assert (await site.ask(path, "PUT", caller=OTHER))[0] == 403


async def test_identical_reads_are_one_request(site: Site) -> None:
    site.vault.go.clear()
    async with asyncio.TaskGroup() as group:
        same = [group.create_task(site.ask("kv/data/open/a")) for _ in range(5)]
        for different in (
            site.ask("kv/data/open/a", x_vault_wrap_ttl="60"),
            site.ask("kv/data/open/a?version=1"),
            site.ask("kv/data/open/a", x_vault_token="t"),
            site.ask("kv/data/open/a", "POST"),
        ):
            group.create_task(different)
        await site.vault.has_been_asked(5)
        same[0].cancel()
        await site.vault.has_been_asked(6)
        site.vault.go.set()
    assert all(each.result()[0] == 200 for each in same[1:])
    assert len(site.vault.asked) == 6  # the first one left: another asked again for the rest


async def test_one_user_has_only_so_much_under_way(site: Site) -> None:
    site.vault.go.clear()
    async with asyncio.TaskGroup() as group:
        asking = [
            group.create_task(site.ask(f"kv/{number}", x_vault_token="t")) for number in range(40)
        ]
        await site.vault.has_been_asked(32)
        other = group.create_task(site.ask("kv/other", x_vault_token="t", caller=OTHER))
        await site.vault.has_been_asked(33)
        site.vault.go.set()
    assert sorted(each.result()[0] for each in asking) == [200] * 32 + [429] * 8
    assert other.result()[0] == 200


# --- TCP ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x_vault_request": "true", "host": "127.0.0.1:8200"}, 200),
        ({"x_vault_request": "true", "host": "localhost"}, 200),
        ({"x_vault_request": "true", "host": "[::1]:8200"}, 200),
        ({"host": "127.0.0.1:8200"}, 412),
        ({"x_vault_request": "false", "host": "127.0.0.1:8200"}, 412),
        ({"x_vault_request": "true", "host": "evil.example:8200"}, 403),
        ({"x_vault_request": "true", "host": "127.0.0.1.evil.example"}, 403),
        ({"x_vault_request": "true"}, 403),
        ({"x_vault_request": "true", "host": "localhost", "origin": "http://localhost"}, 403),
    ],
)
async def test_no_page_in_a_browser_gets_anything(
    site: Site, headers: dict[str, str], status: int
) -> None:
    site.rules = Rules((VaultRule(secrets=("one",)),))
    assert (await site.ask("kv/data/one", caller=ON_TCP, **headers))[0] == status
