"""The AWS agent's door: its checks in their order, its words, and values of any store."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api.access import Rules
from agent.api.aws import AwsDoor, Token
from agent.api.aws.door import LEASE_FLOOR, LONGEST_WAIT, MOST_CONNECTIONS
from agent.api.aws.query import BadQuery, Query, parsed
from agent.api.caller import ON_TCP, Caller
from agent.api.http import Answer, Reply, Request
from agent.config.listener_model import AwsListener, SecretsRule, TokenSource
from agent.config.model import SecretEntry
from agent.core.errors import AgentError
from agent.core.events import Advice
from agent.core.lease import Lease, Term
from agent.core.secret import Field, Reading, Secret
from agent.ledger import Ledger
from tests.rig.clock import START, WALL_START, JumpClock
from tests.rig.stores import Changes, Recorder

SECRETS = {
    "database": SecretEntry(path="x", aliases=("prod/app/db", "db")),
    "web": SecretEntry(path="y"),
    "hidden": SecretEntry(path="z"),
}
APP = Caller(uid=1000, gid=1000, pid=7)
ALLOWED = SecretsRule(secrets=("database", "web", "no*"))
GET = "/secretsmanager/get?secretId="


class Rig:
    """A door on a ledger; TOKEN unless told otherwise."""

    def __init__(self, token: Token | None = None) -> None:
        self.clock, self.events, self.changes = JumpClock(), Recorder(), Changes()
        self.ledger = Ledger(self.clock)
        self.secrets = SECRETS
        self.connections = 1
        self.rules = Rules([ALLOWED])
        self.asked: list[str] = []
        self.on_refresh: Callable[[], None] = lambda: None
        self.record: Any = None
        self.door = AwsDoor(
            "aws",
            self.ledger,
            rules=lambda: self.rules,
            secrets=lambda: self.secrets,
            refresh=self._refresh,
            token=token,
            clock=self.clock,
            emit=self.events,
            changes=self.changes,
            connections=lambda: self.connections,
        )

    async def _refresh(self, name: str, deadline: float) -> bool:
        assert deadline == self.clock.now() + LONGEST_WAIT
        self.asked.append(name)
        self.on_refresh()
        return True

    def put(self, name: str, version: str = "7", lease: Lease | None = None, **of: Field) -> None:
        self.ledger.record(name, Reading(Secret(of), version, lease), None)

    def answer(
        self, target: str, method: str = "GET", caller: Caller = APP, **headers: str
    ) -> Answer | Awaitable[Reply]:
        path, _, query = target.partition("?")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(method, path, query, headers=named, caller=caller, id="1")
        answered = self.door.answer(request)
        self.record = request.record
        return answered

    def get(self, target: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        answered = self.answer(target, method, APP, **headers)
        assert isinstance(answered, Answer)
        return answered.status, answered.body.decode()

    async def wait(self, target: str) -> tuple[int, Any]:
        answered = self.answer(target)
        assert not isinstance(answered, Answer)
        reply = await answered
        assert isinstance(reply, Answer)
        return reply.status, json.loads(reply.body)


@pytest.fixture
async def rig() -> Rig:
    return Rig()


@pytest.fixture
async def guarded() -> Rig:
    return Rig(Token("t0ken"))


# --- values ---------------------------------------------------------------------------------------


async def test_a_secret_as_the_original_gives_it(rig: Rig) -> None:
    rig.put("database", username="u", password="p")
    status, body = rig.get(GET + "database")
    assert (status, json.loads(body)) == (
        200,
        {
            "ARN": "arn:aws:secretsmanager:local:000000000000:secret:database",
            "Name": "database",
            "VersionId": "7",
            "SecretString": '{"username":"u","password":"p"}',
            "VersionStages": ["AWSCURRENT"],
            "CreatedDate": f"{WALL_START:.2f}",
        },
    )
    assert (rig.record.secret, rig.record.version, rig.record.rule) == ("database", "7", 1)


@pytest.mark.parametrize(
    "target",
    [
        "/v1/database",
        "/v1/prod/app/db",
        "/v1/db?refreshNow=FALSE",
        "/v1/arn:aws:secretsmanager:local:000000000000:secret:database",
        GET + "prod%2Fapp%2Fdb",
        GET + "prod/app/db&versionStage=AWSCURRENT",
        GET + "db&versionId=7&refreshNow=0",
    ],
)
async def test_by_every_name(rig: Rig, target: str) -> None:
    rig.put("database", password="p")
    status, body = rig.get(target)
    assert status == 200 and json.loads(body)["Name"] == "database"


async def test_bytes_are_binary(rig: Rig) -> None:
    rig.put("web", key=b"\0\xff")
    body = json.loads(rig.get("/v1/web")[1])
    assert base64.b64decode(body["SecretBinary"]) == b"\0\xff"
    assert "SecretString" not in body


async def test_a_new_value_is_given_at_once_and_an_old_one_made_once(rig: Rig) -> None:
    rig.put("web", password="one")
    first = rig.answer("/v1/web")
    await rig.clock.advance(5)
    rig.put("web", password="one")
    assert rig.answer("/v1/web") is first
    rig.put("web", "8", password="two")
    assert json.loads(rig.get("/v1/web")[1])["VersionId"] == "8"
    rig.ledger.remove("web")
    rig.secrets = {"database": SECRETS["database"]}
    assert rig.get("/v1/web")[0] == 400


@pytest.mark.parametrize("what", ["versionId=6", "versionStage=AWSPREVIOUS", "versionId="])
async def test_only_the_current_version_is_there(rig: Rig, what: str) -> None:
    rig.put("web", password="p")
    status, body = rig.get(f"/v1/web?{what}")
    assert status == 400 and json.loads(body)["__type"] == "ResourceNotFoundException"


# --- checks, in their order -----------------------------------------------------------------------


async def test_the_checks_are_made_in_the_originals_order(guarded: Rig) -> None:
    forwarded = {"x_forwarded_for": "10.0.0.1"}
    guarded.connections = MOST_CONNECTIONS + 1
    assert guarded.get("/nothing", "POST", **forwarded) == (429, "Connection limit exceeded")
    guarded.connections = MOST_CONNECTIONS
    assert guarded.get("/nothing", "POST", **forwarded) == (400, "Forwarded")
    assert guarded.get("/nothing", "POST") == (403, "Bad Token")
    token = {"x_aws_parameters_secrets_token": "t0ken"}
    assert guarded.get("/nothing", "POST", **token) == (405, "Not allowed")
    assert guarded.get("/nothing", **token) == (404, "Not found")
    assert guarded.get("/v1/web", **token, **forwarded) == (400, "Forwarded")


async def test_ping_needs_no_token_and_has_room_of_its_own(guarded: Rig) -> None:
    guarded.connections = MOST_CONNECTIONS + 2
    assert guarded.get("/ping", x_forwarded_for="x") == (200, "healthy")
    assert guarded.get("/ping", "POST") == (405, "Not allowed")
    guarded.connections += 1
    assert guarded.get("/ping") == (429, "Connection limit exceeded")


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/secretsmanager/get", 400, "missing parameter secretId"),
        ("/secretsmanager/get?secretId=", 400, "missing parameter secretId"),
        ("/secretsmanager/get?versionId=1&x=2", 400, "unknown parameter: x"),
        ("/secretsmanager/get?secretid=a", 400, "unknown parameter: secretid"),
        ("/v1/", 400, "missing secret ID"),
        ("/v1/?versionId=1", 400, "missing secret ID"),
        ("/v1/web?secretId=web", 400, "unknown parameter: secretId"),
        ("/v1/web?refreshNow=yes", 400, "invalid refreshNow value"),
        ("/v1/web?refreshNow=", 400, "invalid refreshNow value"),
        ("/v1", 404, "Not found"),
        ("/", 404, "Not found"),
        ("/ping/", 404, "Not found"),
        ("//v1/web", 404, "Not found"),
        ("/V1/web", 404, "Not found"),
        ("/secretsmanager/get/?secretId=web", 404, "Not found"),
    ],
)
async def test_what_can_not_be_asked(rig: Rig, target: str, status: int, text: str) -> None:
    rig.put("web", password="p")
    assert rig.get(target) == (status, text)


@pytest.mark.parametrize("header", ["x_aws_parameters_secrets_token", "x_vault_token"])
async def test_the_token_in_either_header(guarded: Rig, header: str) -> None:
    guarded.put("web", password="p")
    assert guarded.get("/v1/web", **{header: "t0ken"})[0] == 200
    for wrong in ("", "t0ke", "t0ken ", "T0KEN", "t0ken, t0ken"):
        assert guarded.get("/v1/web", **{header: wrong}) == (403, "Bad Token")
    assert guarded.record.decision == "denied"


# --- rules ----------------------------------------------------------------------------------------


async def test_a_hidden_secret_and_one_that_is_not_there_are_the_same(rig: Rig) -> None:
    rig.put("hidden", password="p")
    hidden, absent = rig.get("/v1/hidden"), rig.get("/v1/absent")
    assert hidden == absent and json.loads(hidden[1])["__type"] == "AccessDeniedException"
    assert hidden[0] == 400 and rig.record.decision == "denied"


@pytest.mark.parametrize(
    "odd", ["../hidden", "web/../hidden", "%68idden", "web%00", "WEB", "web/", "/web", ";web", "*"]
)
async def test_no_path_leads_elsewhere(rig: Rig, odd: str) -> None:
    rig.put("hidden", password="p")
    rig.put("web", password="p")
    assert rig.get(f"/v1/{odd}")[0] == 400
    assert rig.get(GET + odd.replace("%68idden", "%2568idden"))[0] == 400


async def test_one_that_may_be_had_and_is_not_there(rig: Rig) -> None:
    status, body = rig.get("/v1/nothing")
    assert status == 400 and json.loads(body)["__type"] == "ResourceNotFoundException"


async def test_rules_of_users_have_no_meaning_on_tcp(rig: Rig) -> None:
    rig.put("web", password="p")
    rig.rules = Rules([SecretsRule(user="1000", secrets=("web",))])
    assert rig.get("/v1/web")[0] == 200
    answered = rig.answer("/v1/web", caller=ON_TCP)
    assert isinstance(answered, Answer) and answered.status == 400


async def test_no_role_is_assumed(rig: Rig) -> None:
    rig.put("web", password="p")
    status, body = rig.get("/v1/web?roleArn=arn:aws:iam::1:role/x")
    assert status == 400 and json.loads(body)["__type"] == "AccessDeniedException"


# --- waiting --------------------------------------------------------------------------------------


async def test_refresh_now_waits_for_what_the_store_says(rig: Rig) -> None:
    rig.put("web", "1", password="one")
    rig.on_refresh = lambda: rig.put("web", "2", password="two")
    status, body = await rig.wait("/v1/web?refreshNow=True")
    assert (status, body["VersionId"], rig.asked) == (200, "2", ["web"])


async def test_a_passing_failure_gives_what_is_held_and_a_refusal_does_not(rig: Rig) -> None:
    rig.put("web", "1", password="one")
    rig.on_refresh = lambda: rig.ledger.stale("web", "refused", "outage")
    assert (await rig.wait("/v1/web?refreshNow=1"))[0] == 200
    rig.on_refresh = lambda: rig.ledger.stale("web", "403", "denied")
    status, body = await rig.wait("/v1/web?refreshNow=1")
    assert (status, body["__type"]) == (400, "AccessDeniedException")


async def test_refresh_now_does_not_make_credentials_without_end(rig: Rig) -> None:
    lease = Lease("id", Term(START, 3600.0, True, 3600.0))
    rig.put("web", "1", lease, password="one")
    await rig.wait("/v1/web?refreshNow=1")
    assert rig.asked == []
    await rig.clock.advance(LEASE_FLOOR)
    await rig.wait("/v1/web?refreshNow=1")
    assert rig.asked == ["web"]


async def test_a_first_value_is_waited_for(rig: Rig) -> None:
    waiting = asyncio.ensure_future(rig.wait("/v1/web"))
    await rig.clock.advance(LONGEST_WAIT - 1)
    rig.put("web", "1", password="one")
    assert (await waiting)[0] == 200


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        (None, 504, "TimeoutError"),
        ("outage", 502, "ConnectionError"),
        ("denied", 400, "AccessDeniedException"),
        ("missing", 400, "ResourceNotFoundException"),
    ],
)
async def test_what_is_not_had(rig: Rig, kind: str | None, status: int, said: str) -> None:
    if kind is not None:
        rig.ledger.stale("web", "for a reason", kind)
    waiting = asyncio.ensure_future(rig.wait("/v1/web"))
    await rig.clock.advance(LONGEST_WAIT)
    answered, body = await waiting
    assert (answered, body["__type"]) == (status, said)


# --- the token's source ---------------------------------------------------------------------------


def test_where_the_token_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("f1le\n")
    tcp = AwsListener(address="127.0.0.1:2773")
    of = Token.of
    assert has(of(tcp, {"AWS_SESSION_TOKEN": "second", "AWS_TOKEN": "first"}), "first")
    assert has(of(tcp, {"AWS_TOKEN": "", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "third"}), "third")
    assert has(of(tcp, {"AWS_TOKEN": f"file://{file}"}), "f1le")
    own = AwsListener(address="127.0.0.1:2773", token=TokenSource(file=file))
    assert has(of(own, {"AWS_TOKEN": "first"}), "f1le")
    assert of(AwsListener(socket="/run/x.sock"), {"AWS_TOKEN": "first"}) is None
    assert has(of(AwsListener(socket="/x", token=TokenSource(file=file)), {}), "f1le")


def has(token: Token | None, value: str) -> bool:
    return token is not None and token.is_in({"x-vault-token": value})


@pytest.mark.parametrize("content", ["", "\n", "a\nb", "ä", "x" * 5000])
def test_what_is_no_token(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with pytest.raises(AgentError, match="is no token") as told:
        Token.from_file(file)
    assert not content.strip() or content not in str(told.value)
    with pytest.raises(AgentError, match="No such file"):
        Token.from_file(tmp_path / "none")


async def test_a_token_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    rig = Rig(await asyncio.to_thread(Token.from_file, file))
    rig.put("web", password="p")
    running = asyncio.ensure_future(rig.door.run())
    await rig.clock.settle()

    file.write_text("two")
    rig.changes.changed(file)
    await rig.clock.settle()
    assert rig.get("/v1/web", x_vault_token="one")[0] == 403
    assert rig.get("/v1/web", x_vault_token="two")[0] == 200

    file.unlink()
    rig.changes.changed(file)
    await rig.clock.settle()
    assert rig.get("/v1/web", x_vault_token="two")[0] == 200
    assert len(rig.events.all(Advice)) == 1

    rig.door.reconfigure(None)
    await rig.clock.settle()
    assert rig.get("/v1/web")[0] == 200
    running.cancel()


# --- the parser -----------------------------------------------------------------------------------

RAW = st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="?#"))


@given(RAW, RAW)
def test_every_target_is_a_query_or_refused(path: str, query: str) -> None:
    for each in (f"/{path}", f"/v1/{path}", "/secretsmanager/get"):
        try:
            found = parsed(each, query)
        except BadQuery as bad:
            assert bad.status in (400, 404)
        else:
            assert isinstance(found, Query) and found.secret_id


@given(st.text(min_size=1))
def test_a_name_in_the_query_is_decoded_once(name: str) -> None:
    from urllib.parse import quote_plus

    assert parsed("/secretsmanager/get", f"secretId={quote_plus(name)}").secret_id == name
