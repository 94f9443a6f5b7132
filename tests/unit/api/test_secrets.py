"""The secrets API over real sockets: who gets what, how it is told, who waits for what."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.access import Rules
from agent.api.secrets.answers import raw
from agent.api.secrets.targets import (
    LONGEST_WAIT,
    BadQuestion,
    Confirmed,
    Target,
    decoded,
    said,
    target,
    wait_seconds,
)
from agent.config.listener_model import ApiRule
from agent.core.clock import rfc3339, wall_at
from agent.core.secret import Secret
from tests.rig.clock import JumpClock
from tests.rig.secrets_site import NAMES, OTHER, Client, SecretsSite, Told, secrets_site

DATABASE = "/v1/secrets/database"


@pytest.fixture
async def site(clock: JumpClock) -> AsyncIterator[SecretsSite]:
    async with secrets_site(clock) as made:
        yield made


@pytest.fixture
async def app(site: SecretsSite) -> Client:
    return await site.client()


# --- reading --------------------------------------------------------------------------------------


async def test_the_list_has_what_the_caller_may_read(site: SecretsSite, app: Client) -> None:
    told = await app.get("/v1/secrets")
    assert told.json() == {
        "secrets": [
            {"name": "database", "version": "3", "state": "fresh"},
            {"name": "web", "version": None, "state": "waiting"},
            {"name": "webhook", "version": None, "state": "waiting"},
        ]
    }
    assert b"s3same" not in told.body
    site.put("web", "1", a="b")
    assert {"name": "web", "version": "1", "state": "fresh"} in (
        await app.get("/v1/secrets")
    ).json()["secrets"]


async def test_a_secret_is_told_whole(clock: JumpClock, site: SecretsSite, app: Client) -> None:
    site.put("web", "lease-1", clock.now() + 60, key="k")
    told = await app.get("/v1/secrets/web")
    assert told.status == 200 and told.headers["content-type"] == "application/json"
    assert told.headers["cache-control"] == "no-store"
    assert told.json() == {
        "name": "web",
        "version": "lease-1",
        "value": {"key": "k"},
        "expires_at": rfc3339(wall_at(clock, clock.now() + 60)),
        "stale": False,
        "read_at": rfc3339(clock.wall()),
    }


async def test_bytes_are_base64_and_said_to_be(app: Client) -> None:
    content = (await app.get(DATABASE)).json()
    assert content["encoding"] == {"key": "base64"}
    assert base64.b64decode(content["value"]["key"]) == b"\x00\xff"
    assert content["value"]["port"] == 5432


async def test_what_could_not_be_proven_is_stale(site: SecretsSite, app: Client) -> None:
    assert not (await app.get(DATABASE)).json()["stale"]
    site.ledger.stale("database", "no answer", "outage")
    assert (await app.get(DATABASE)).json()["stale"]


async def test_a_renewal_is_told_though_the_version_is_the_same(
    clock: JumpClock, site: SecretsSite, app: Client
) -> None:
    before = await app.get(DATABASE)
    site.ledger.good_until("database", clock.now() + 1000)
    after = await app.get(DATABASE)
    assert before.json()["expires_at"] is None and after.json()["expires_at"] is not None
    assert before.headers["etag"] == after.headers["etag"]


@pytest.mark.parametrize(
    ("field", "body", "content_type"),
    [
        ("password", b"s3same", "text/plain; charset=utf-8"),
        ("key", b"\x00\xff", "application/octet-stream"),
        ("port", b"5432", "text/plain; charset=utf-8"),
        ("%70assword", b"s3same", "text/plain; charset=utf-8"),
    ],
)
async def test_a_field_is_its_bytes(
    app: Client, field: str, body: bytes, content_type: str
) -> None:
    told = await app.get(f"{DATABASE}/{field}")
    assert (told.body, told.headers["content-type"]) == (body, content_type)
    assert told.headers["etag"] == (await app.get(DATABASE)).headers["etag"]


async def test_a_known_value_is_not_sent_again(site: SecretsSite, app: Client) -> None:
    etag = (await app.get(DATABASE)).headers["etag"]
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        for path in (DATABASE, f"{DATABASE}/password"):
            told = await app.get(path, If_None_Match=known)
            assert (told.status, told.body, told.headers["etag"]) == (304, b"", etag)
    site.put("database", "3", password="made again under the same number")
    assert (await app.get(DATABASE, If_None_Match=etag)).status == 200


async def test_head_is_get_without_the_body(app: Client) -> None:
    got, told = await app.get(DATABASE), await app.ask("HEAD", DATABASE)
    assert (told.status, told.headers, told.body) == (200, got.headers, b"")
    assert (await app.ask("HEAD", "/v1/events")).status == 200
    assert (await app.get("/v1/secrets")).status == 200


async def test_what_is_not_had_yet_is_503_with_a_time(
    clock: JumpClock, site: SecretsSite, app: Client
) -> None:
    told = await app.get("/v1/secrets/web")
    assert told.status == 503 and told.headers["retry-after"] == "5"
    assert told.headers["content-type"] == "application/problem+json"
    site.ledger.next_due("web", clock.now() + 11.5)
    assert (await app.get("/v1/secrets/web/x")).headers["retry-after"] == "12"
    site.ledger.expired("database")
    told = await app.get(DATABASE)
    assert told.status == 503 and told.json()["detail"] == "the value has expired"


async def test_a_value_that_was_replaced_is_not_kept(site: SecretsSite, app: Client) -> None:
    await app.get(f"{DATABASE}/password")
    site.put("database", "4", password="new")
    assert "database" not in site.door._kept._kept


# --- who may --------------------------------------------------------------------------------------


def as_seen(told: Told) -> tuple[int, dict[str, str], bytes]:
    return told.status, told.headers, told.body


@pytest.mark.parametrize(
    "ask",
    [
        ("GET", "/v1/secrets/{}", None),
        ("HEAD", "/v1/secrets/{}", None),
        ("GET", "/v1/secrets/{}?wait=60s", None),
        ("GET", "/v1/secrets/{}/token", None),
        ("POST", "/v1/secrets/{}/refused", {"version": "1"}),
        ("GET", "/v1/bundles/{}", None),
        ("POST", "/v1/bundles/{}/confirm", {"generation": 3}),
    ],
)
async def test_what_is_denied_and_what_is_not_there_are_the_same(
    site: SecretsSite, app: Client, ask: tuple[str, str, object]
) -> None:
    method, path, body = ask
    denied = "extra" if "bundles" in path else "other"
    there = await app.ask(method, path.format(denied), body)
    assert there.status == 403
    for name in ("nothing", "Database", "web2", "DATABASE", "database%00", "%ff", "a" * 4000):
        assert as_seen(await app.ask(method, path.format(name), body)) == as_seen(there)
    assert not site.refused and not site.bundles.said
    assert {record.decision for record, _ in site.audited} == {"denied"}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/secrets/database/../other",
        "/v1/secrets/database/%2e%2e/other",
        "/v1/secrets/database%2f..%2fother",
        "/v1/secrets/..%2fsecrets%2fother",
        "/v1/secrets//other",
        "/v1//secrets/other",
        "//v1/secrets/other",
        "/v1/secrets/./other",
        "/v1/secrets/%6f%74her",
        "/v1/secrets/%256fther",
        "/v1/secrets/other%00",
        "/v1/secrets/other;x",
        "/v1/secrets/OTHER",
        "/V1/secrets/other",
        "/v1/secrets/other/",
        "/v1/secrets/other/token",
        "/v1/secrets/other/token/..",
        "http://localhost/v1/secrets/other",
    ],
)
async def test_no_trick_with_a_path_leads_to_another_resource(app: Client, path: str) -> None:
    told = await app.get(path)
    assert told.status in (403, 404) and b"theirs" not in told.body


async def test_a_name_is_decoded_once(app: Client) -> None:
    assert (await app.get("/v1/secrets/%64atabase")).status == 200
    assert (await app.get("/v1/secrets/%2564atabase")).status == 403


async def test_another_caller_on_the_same_door_gets_only_its_own(site: SecretsSite) -> None:
    other = await site.client(OTHER)
    assert (await other.get("/v1/secrets/other/token")).body == b"theirs"
    assert (await other.get(DATABASE)).status == 403


async def test_other_rules_hold_at_once_for_connections_that_are_there(
    site: SecretsSite, app: Client
) -> None:
    assert (await app.get(DATABASE)).status == 200
    site.door.reconfigure(Rules([ApiRule(user="1000", secrets=("web",))]), NAMES)
    assert (await app.get(DATABASE)).status == 403
    assert [each["name"] for each in (await app.get("/v1/secrets")).json()["secrets"]] == ["web"]


async def test_a_secret_that_left_the_configuration_is_gone(site: SecretsSite, app: Client) -> None:
    site.door.reconfigure(Rules([ApiRule(secrets=("*",))]), ["web"])
    assert (await app.get(DATABASE)).status == 403


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("PUT", DATABASE, 405, "GET, HEAD"),
        ("DELETE", "/v1/secrets/nothing", 405, "GET, HEAD"),
        ("POST", "/v1/secrets", 405, "GET, HEAD"),
        ("GET", "/v1/bundles/app/confirm", 405, "POST"),
        ("PUT", f"{DATABASE}/refused", 405, "POST"),
        ("GET", f"{DATABASE}/nothing", 404, None),
        ("GET", f"{DATABASE}/", 404, None),
        ("GET", f"{DATABASE}/refused", 404, None),
        ("GET", f"{DATABASE}/%ff", 404, None),
        ("GET", "/v1/bundles", 404, None),
        ("GET", "/", 404, None),
        ("GET", f"{DATABASE}?wait=x", 400, None),
        ("GET", f"{DATABASE}?wait=", 400, None),
        ("GET", f"{DATABASE}?wait=1s&wait=2s", 400, None),
        ("GET", f"{DATABASE}?field=x", 400, None),
        ("GET", f"{DATABASE}/password?wait=1s", 400, None),
        ("GET", "/v1/secrets?all=1", 400, None),
    ],
)
async def test_what_is_wrong_is_a_problem(
    app: Client, method: str, path: str, status: int, allow: str | None
) -> None:
    told = await app.ask(method, path)
    assert (told.status, told.headers.get("allow")) == (status, allow)
    assert told.headers["content-type"] == "application/problem+json"
    assert told.json()["status"] == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"1"',
        b'{"version": 1}',
        b'{"version": "1", "x": 1}',
        b"\xff",
        b"[" * 9000,
    ],
)
async def test_a_body_that_can_not_be_meant_is_refused(
    site: SecretsSite, app: Client, body: bytes
) -> None:
    told = await app.ask("POST", f"{DATABASE}/refused", body)
    assert told.status == 400 and not site.refused


# --- waiting --------------------------------------------------------------------------------------


async def test_who_waits_is_answered_at_the_change(
    clock: JumpClock, site: SecretsSite, app: Client
) -> None:
    etag = (await app.get(DATABASE)).headers["etag"]
    app.send("GET", f"{DATABASE}?wait=60s", If_None_Match=etag)
    await clock.advance(30)
    site.put("database", "4", password="new")
    told = await app.told()
    assert told.json()["version"] == "4" and told.headers["etag"] != etag


async def test_who_waits_in_vain_is_told_that_nothing_is_new(clock: JumpClock, app: Client) -> None:
    etag = (await app.get(DATABASE)).headers["etag"]
    app.send("GET", f"{DATABASE}?wait=60s", If_None_Match=etag)
    await clock.advance(59)
    assert not app.reader._buffer  # type: ignore[attr-defined]
    await clock.advance(2)
    assert (await app.told()).status == 304


async def test_who_knows_another_one_does_not_wait(app: Client) -> None:
    assert (await app.get(f"{DATABASE}?wait=60s", If_None_Match='"other"')).status == 200
    assert (await app.get(f"{DATABASE}?wait=0")).status == 200


async def test_without_a_known_value_the_next_one_is_waited_for(
    clock: JumpClock, site: SecretsSite, app: Client
) -> None:
    app.send("GET", f"{DATABASE}?wait=60s")
    await clock.advance(1)
    site.put("database", "4", password="new")
    assert (await app.told()).json()["version"] == "4"
    app.send("GET", f"{DATABASE}?wait=60s")
    await clock.advance(61)
    assert (await app.told()).status == 304


async def test_a_first_value_is_waited_for(
    clock: JumpClock, site: SecretsSite, app: Client
) -> None:
    app.send("GET", "/v1/secrets/web?wait=60s")
    await clock.advance(1)
    site.ledger.stale("web", "no answer", "outage")
    await clock.advance(1)
    site.put("web", "1", a="b")
    assert (await app.told()).json()["value"] == {"a": "b"}
    app.send("GET", "/v1/secrets/webhook?wait=60s")
    await clock.advance(61)
    assert (await app.told()).status == 503


async def test_nobody_waits_longer_than_ten_minutes(clock: JumpClock, app: Client) -> None:
    app.send("GET", f"{DATABASE}?wait=7d")
    await clock.advance(LONGEST_WAIT + 1)
    assert (await app.told()).status == 304


async def test_who_waits_for_what_is_no_longer_allowed_is_told(
    clock: JumpClock, site: SecretsSite, app: Client
) -> None:
    app.send("GET", f"{DATABASE}?wait=60s")
    await clock.advance(1)
    site.door.reconfigure(Rules([]), NAMES)
    assert (await app.told()).status == 403


async def test_many_wait_with_one_observer_and_leave_nothing(
    clock: JumpClock, site: SecretsSite
) -> None:
    clients = [await site.client() for _ in range(200)]
    for client in clients:
        client.send("GET", f"{DATABASE}?wait=60s")
    await clock.advance(1)
    assert len(site.door._changes._waiting["database"]) == 200
    assert len(site.ledger._observers) == 1
    for client in clients[:100]:
        client.writer.transport.abort()
    await clock.settle()
    site.put("database", "4", password="new")
    assert {(await each.told()).json()["version"] for each in clients[100:]} == {"4"}
    assert not site.door._changes._waiting


# --- events ---------------------------------------------------------------------------------------


def events_in(chunk: bytes) -> list[dict[str, str | None]]:
    lines = chunk.decode().split("\n\n")[:-1]
    assert all(each.startswith("event: secret\ndata: ") for each in lines)
    return [json.loads(each.partition("data: ")[2]) for each in lines]


async def test_events_tell_all_then_each_change_and_never_a_value(
    clock: JumpClock, site: SecretsSite, app: Client
) -> None:
    told = await app.get("/v1/events")
    assert told.headers["content-type"] == "text/event-stream"
    assert [each["name"] for each in events_in(await app.chunk())] == ["database", "web", "webhook"]
    site.put("database", "4", password="new")
    site.put("other", "2", token="not for us")
    assert events_in(await app.chunk()) == [{"name": "database", "version": "4", "state": "fresh"}]
    site.ledger.stale("database", "no answer", "outage")
    assert events_in(await app.chunk()) == [{"name": "database", "version": "4", "state": "stale"}]
    await clock.advance(15)
    assert await app.chunk() == b": alive\n\n"


async def test_changes_are_told_as_they_are_now_not_one_by_one(
    site: SecretsSite, app: Client
) -> None:
    await app.get("/v1/events")
    await app.chunk()
    for version in range(10, 1000):
        site.put("database", str(version), password="new")
    assert events_in(await app.chunk()) == [
        {"name": "database", "version": "999", "state": "fresh"}
    ]


async def test_events_follow_the_rules(site: SecretsSite, app: Client) -> None:
    await app.get("/v1/events")
    await app.chunk()
    site.door.reconfigure(Rules([ApiRule(secrets=("web", "other"))]), NAMES)
    assert events_in(await app.chunk()) == [
        {"name": "database", "version": None, "state": "gone"},
        {"name": "other", "version": "1", "state": "fresh"},
        {"name": "webhook", "version": None, "state": "gone"},
    ]


async def test_a_client_that_reads_nothing_costs_bounded_memory(
    clock: JumpClock, site: SecretsSite, app: Client
) -> None:
    await app.get("/v1/events")
    await app.chunk()
    app.reader._transport.pause_reading()  # type: ignore[attr-defined]
    (connection,) = site.server.connections
    for version in range(20_000):
        site.put("database", str(version), password="new")
        if version % 10 == 0:
            await asyncio.sleep(0)
    assert connection._transport is not None
    assert connection._transport.get_write_buffer_size() < 256 * 1024
    (follower,) = site.door._changes._followers
    assert len(follower.changed) <= len(NAMES)


async def test_who_leaves_is_forgotten(clock: JumpClock, site: SecretsSite, app: Client) -> None:
    await app.get("/v1/events")
    await app.chunk()
    app.writer.transport.abort()
    await clock.settle()
    assert not site.door._changes._followers


# --- refused, bundles -----------------------------------------------------------------------------


async def test_an_app_says_that_a_version_does_not_work(site: SecretsSite, app: Client) -> None:
    told = await app.ask("POST", f"{DATABASE}/refused", {"version": "3"})
    assert (told.status, told.json()) == (202, {"is_new": True})
    told = await app.ask("POST", f"{DATABASE}/refused", {"version": "3"})
    assert (told.status, told.json()) == (202, {"is_new": False})
    assert site.refused[0] == ("database", "3")


async def test_a_bundle_is_seen_by_who_may_read_all_of_it_or_is_named(site: SecretsSite) -> None:
    app, other = await site.client(), await site.client(OTHER)
    assert (await app.get("/v1/bundles/app")).json() == {
        "name": "app",
        "generation": 7,
        "state": "waiting",
        "confirmed_at": "2026-11-24T10:00:00Z",
    }
    assert (await app.get("/v1/bundles/extra")).status == 403
    assert (await other.get("/v1/bundles/app")).status == 403
    assert (await other.get("/v1/bundles/extra")).json()["generation"] == 3


async def test_a_generation_is_confirmed_or_not(site: SecretsSite, app: Client) -> None:
    path = "/v1/bundles/app/confirm"
    assert (await app.ask("POST", path, {"generation": 7})).status == 204
    assert (await app.ask("POST", path, {"generation": 7, "error": "no"})).status == 204
    told = await app.ask("POST", path, {"generation": 6})
    assert (told.status, told.json()["generation"]) == (409, 7)
    assert (await app.ask("POST", path, b'{"generation": 7.0}')).status == 204
    assert (await app.ask("POST", path, b'{"generation": 7.5}')).status == 400
    assert site.bundles.said == [("app", 7, None), ("app", 7, "no"), ("app", 7, None)]


# --- the audit ------------------------------------------------------------------------------------


async def test_every_access_is_recorded_before_it_is_answered(
    site: SecretsSite, app: Client
) -> None:
    await app.get(DATABASE)
    await app.get(f"{DATABASE}/password")
    await app.get("/v1/secrets/other")
    await app.get(f"{DATABASE}/nothing")
    told = [
        (each.secret, each.field, each.version, each.decision, each.rule, status)
        for each, status in site.audited
    ]
    assert told == [
        ("database", None, "3", "allowed", 1, 200),
        ("database", "password", "3", "allowed", 1, 200),
        ("other", None, None, "denied", None, 403),
        ("database", "nothing", "3", "allowed", 1, 404),
    ]


async def test_what_can_not_be_recorded_is_not_told(site: SecretsSite, app: Client) -> None:
    site.is_writable = False
    for path in (DATABASE, f"{DATABASE}/password", "/v1/secrets", "/v1/events"):
        told = await app.get(path)
        assert told.status == 503 and b"s3same" not in told.body


# --- parsing --------------------------------------------------------------------------------------


@given(st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=40))
def test_a_path_means_at_most_what_it_says(rest: str) -> None:
    """No path but one with just these steps is a secret's, and its name has been decoded once."""
    found = target("GET", f"/v1/secrets/{rest}")
    if "/" not in rest:
        assert found == Target("secret", decoded(rest))
    elif found is not None:
        name, _, field = rest.partition("/")
        assert found == Target("field", decoded(name), decoded(field))


@given(st.binary(max_size=60))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        word = said(body, Confirmed)
    except BadQuestion as bad:
        assert str(bad) == "the body must be a JSON object of: generation, error"
    else:
        assert isinstance(word.generation, int)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=20))
def test_any_query_is_a_wait_or_refused(query: str) -> None:
    try:
        seconds = wait_seconds(query)
    except BadQuestion:
        return
    assert seconds is None or 0 <= seconds <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("written", "seconds"), [("60s", 60), ("1m30s", 90), ("250ms", 0.25), ("5", 5), ("1h", 600)]
)
def test_durations_are_those_of_the_configuration(written: str, seconds: float) -> None:
    assert wait_seconds(f"wait={written}") == seconds


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(), st.lists))
def test_any_field_has_bytes(value: object) -> None:
    body, _ = raw(Secret({"x": value})["x"])  # type: ignore[dict-item]
    assert body.decode() == value if isinstance(value, str) else json.loads(body) == value
