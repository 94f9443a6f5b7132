"""Clients of Vault, unmodified, at our door and at the server: they get the same."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import hvac
import pytest

from agent.config.listener_model import Limits, VaultRule
from agent.config.model import SecretEntry
from tests.rig.bao_client import Bao, Kv
from tests.rig.bao_server import ROOT_TOKEN, binary
from tests.rig.faults import SEALED, Answer, Withhold, rate_limited
from tests.rig.peers import open_folder, peer
from tests.rig.postgres import Database, MakeDatabase
from tests.rig.proxy import Proxy, path
from tests.rig.stores import root, vault
from tests.rig.vault_door import OpenDoor, entry, paths, vault_door
from tests.rig.waiting import eventually

ROOT = root(ROOT_TOKEN)
DOCUMENT = Path(__file__).parents[2] / "docs" / "vault-door.md"
ALL = ("read", "list", "create", "update", "patch", "delete")

VOLATILE = frozenset(
    (
        *("request_id", "server_time_utc", "created_time", "updated_time", "deletion_time"),
        *("issue_time", "expire_time", "last_renewal", "creation_time", "expiration", "not_before"),
        *("lease_id", "id", "token", "accessor", "username", "password", "ciphertext"),
        *("certificate", "issuing_ca", "ca_chain", "private_key", "serial_number"),
    )
)
"""Of these the type is compared, of the others the value."""


@dataclass
class Place:
    """Where the calls look; `side` is another word at either door, for what they make."""

    kv1: Kv
    kv2: Kv
    database: Database
    pki: str
    transit: str
    side: str = ""
    kept: dict[str, str] = field(default_factory=dict)


Call = Callable[[hvac.Client, Place], Any]


def request(client: hvac.Client, method: str, path: str, body: Any = None) -> Any:
    return client.adapter.request(method, f"/v1/{path}", json=body)


def reading(path: str) -> Call:
    return lambda client, _: request(client, "get", path)


def lease(client: hvac.Client, place: Place) -> str:
    """The id of the database's lease, at the door the agent's."""
    if "lease" not in place.kept:
        place.kept["lease"] = client.read(place.database.path)["lease_id"]
    return place.kept["lease"]


def wrapped(client: hvac.Client, place: Place) -> Any:
    made = client.adapter.get(f"/v1/{place.kv2.api('app')}", wrap_ttl="60s")
    place.kept["wrapped"] = made["wrap_info"]["token"]
    return made


def unwrapped(client: hvac.Client, place: Place) -> Any:
    return hvac.Client(url=client.url, token=place.kept["wrapped"]).sys.unwrap()


def decrypted(client: hvac.Client, place: Place) -> Any:
    made = client.secrets.transit.encrypt_data("app", "aGVsbG8=", mount_point=place.transit)
    text = made["data"]["ciphertext"]
    return client.secrets.transit.decrypt_data("app", text, mount_point=place.transit)


CALLS: dict[str, Call] = {
    "kv.v1.read_secret": lambda c, p: c.secrets.kv.v1.read_secret("app", mount_point=p.kv1.mount),
    "kv.v1.create_or_update_secret": lambda c, p: (
        c.secrets.kv.v1.create_or_update_secret(
            p.side, {"a": 1}, method="POST", mount_point=p.kv1.mount
        ).status_code
    ),
    "kv.v1.list_secrets": lambda c, p: c.secrets.kv.v1.list_secrets("", mount_point=p.kv1.mount),
    "kv.v1.delete_secret": lambda c, p: (
        c.secrets.kv.v1.delete_secret(p.side, mount_point=p.kv1.mount).status_code
    ),
    "kv.v1.read_secret, nothing there": lambda c, p: c.secrets.kv.v1.read_secret(
        "nope", mount_point=p.kv1.mount
    ),
    "kv.v2.read_secret": lambda c, p: c.secrets.kv.v2.read_secret(
        "app", mount_point=p.kv2.mount, raise_on_deleted_version=True
    ),
    "kv.v2.read_secret_version, the latest": lambda c, p: c.secrets.kv.v2.read_secret_version(
        "app", 2, mount_point=p.kv2.mount, raise_on_deleted_version=True
    ),
    "kv.v2.read_secret_version, an older one": lambda c, p: c.secrets.kv.v2.read_secret_version(
        "app", 1, mount_point=p.kv2.mount, raise_on_deleted_version=True
    ),
    "kv.v2.read_secret_metadata": lambda c, p: c.secrets.kv.v2.read_secret_metadata(
        "app", mount_point=p.kv2.mount
    ),
    "kv.v2.create_or_update_secret": lambda c, p: c.secrets.kv.v2.create_or_update_secret(
        p.side, {"a": 1.5, "b": ["ü", None]}, mount_point=p.kv2.mount
    ),
    "a PATCH": lambda c, p: c.adapter.request(
        "patch",
        f"/v1/{p.kv2.api(p.side)}",
        json={"data": {"c": 2}},
        headers={"Content-Type": "application/merge-patch+json"},
    ),
    "kv.v2.list_secrets": lambda c, p: c.secrets.kv.v2.list_secrets("", mount_point=p.kv2.mount),
    "kv.v2.delete_latest_version_of_secret": (
        lambda c, p: (
            c.secrets.kv.v2.delete_latest_version_of_secret(
                p.side, mount_point=p.kv2.mount
            ).status_code
        )
    ),
    "kv.v2.read_secret, deleted": lambda c, p: c.secrets.kv.v2.read_secret(
        p.side, mount_point=p.kv2.mount, raise_on_deleted_version=False
    ),
    "kv.v2.undelete_secret_versions": lambda c, p: (
        c.secrets.kv.v2.undelete_secret_versions(p.side, [1], mount_point=p.kv2.mount).status_code
    ),
    "kv.v2.delete_metadata_and_all_versions": (
        lambda c, p: (
            c.secrets.kv.v2.delete_metadata_and_all_versions(
                p.side, mount_point=p.kv2.mount
            ).status_code
        )
    ),
    "database.generate_credentials": lambda c, p: c.secrets.database.generate_credentials(
        "app", mount_point=p.database.mount
    ),
    "sys.read_lease": lambda c, p: c.sys.read_lease(lease(c, p)),
    "sys.renew_lease": lambda c, p: c.sys.renew_lease(lease(c, p)),
    "pki.generate_certificate": lambda c, p: c.secrets.pki.generate_certificate(
        "web", "app.example", mount_point=p.pki
    ),
    "transit.encrypt_data": lambda c, p: c.secrets.transit.encrypt_data(
        "app", "aGVsbG8=", mount_point=p.transit
    ),
    "transit.decrypt_data": decrypted,
    "a read with wrap_ttl": wrapped,
    "sys.unwrap": unwrapped,
    "auth.token.lookup_self": lambda c, p: {
        key: value
        for key, value in c.auth.token.lookup_self()["data"].items()
        if key not in ("id", "accessor")
    },
    "sys.read_health_status, HEAD": lambda c, p: c.sys.read_health_status().status_code,
    "sys.read_health_status, GET": lambda c, p: c.sys.read_health_status(method="GET"),
    "sys.read_seal_status": lambda c, p: c.sys.read_seal_status(),
    "sys.read_leader_status": lambda c, p: c.sys.read_leader_status(),
    "no such mount": lambda c, p: request(c, "get", "nomount/app"),
    "an operation that is not supported": lambda c, p: request(c, "delete", f"{p.pki}/issue/web"),
    "a body that is not understood": lambda c, p: request(
        c, "post", f"{p.transit}/encrypt/app", {"plaintext": "%"}
    ),
}


def outcome(call: Call, client: hvac.Client, place: Place) -> Any:
    """What the caller gets, or which error with which texts."""
    try:
        return masked(call(client, place), place)
    except hvac.exceptions.VaultError as error:
        return type(error).__name__, error.errors, masked(error.json, place)


def masked(value: Any, place: Place, key: str = "") -> Any:
    if key in VOLATILE:
        return type(value).__name__
    if key in ("ttl", "lease_duration") and isinstance(value, int):
        return round(value, -1)
    if isinstance(value, dict):
        return {name: masked(each, place, name) for name, each in value.items()}
    if isinstance(value, list):
        return [masked(each, place) for each in value]
    return value.replace(place.side, "SIDE") if isinstance(value, str) else value


@asynccontextmanager
async def open_door(
    bao: Bao, *allow: VaultRule, hold: dict[str, SecretEntry] | None = None, **spec: Any
) -> AsyncIterator[OpenDoor]:
    async with vault(bao.address, ROOT) as store, vault_door(store, *allow, **spec) as door:
        await door.hold(**(hold or {}))
        yield door


@pytest.fixture
def place(bao: Bao, database: MakeDatabase) -> Place:
    transit = bao.mount("transit")
    bao.request("POST", f"{transit}/keys/app", {})
    made = Place(bao.kv(1), bao.kv(2), database(), bao.pki(), transit)
    made.kv1.put("app", password="s3cret", ttl="1h", port=5432)
    made.kv2.put("app", password="old")
    made.kv2.put("app", password="s3cret", ratio=1.5, nested={"a": [None, True, "<&>"]})
    made.kv2.annotate("app", owner="team")
    return made


def everything(place: Place) -> VaultRule:
    """Of its mounts, and nothing that is there already."""
    mounts = (place.kv1.mount, place.kv2.mount, place.transit)
    opened: dict[str, tuple[str, ...]] = {f"{mount}/*": ALL for mount in mounts}
    opened |= {"nomount/*": ("read",), f"{place.pki}/issue/web": ("delete",)}
    return VaultRule(secrets=("*",), paths=paths(opened))


def held(place: Place) -> dict[str, SecretEntry]:
    certificate = {"common_name": "app.example"}
    return {
        "one": entry(place.kv1.cli("app")),
        "two": entry(place.kv2.cli("app")),
        "database": entry(place.database.path),
        "web": entry(f"{place.pki}/issue/web", data=certificate),
    }


def by(door: OpenDoor, call: Call, client: hvac.Client, place: Place) -> tuple[Any, str]:
    """The outcome, and who answered the last request of it."""
    told = outcome(call, client, place)
    record, _ = door.audited[-1]
    if record.secret is not None and call is not CALLS["a read with wrap_ttl"]:
        return told, "the ledger"
    return told, "the vault" if record.rule or record.path.startswith("sys/") else "the door"


async def test_hvac_is_answered_as_by_the_server(bao: Bao, place: Place) -> None:
    """Side by side; the table is docs/vault-door.md's."""
    direct = hvac.Client(url=bao.address, token=ROOT_TOKEN)
    place.side = "direct"
    there = {
        name: await asyncio.to_thread(outcome, call, direct, place) for name, call in CALLS.items()
    }
    async with open_door(bao, everything(place), hold=held(place)) as door:
        client = hvac.Client(url=door.address)
        client.token = None
        place.side, place.kept = "at-door", {}
        rows = []
        for name, call in CALLS.items():
            here, who = await asyncio.to_thread(by, door, call, client, place)
            assert here == there[name], f"{name}: {here} != {there[name]}"
            ended = here[0] if isinstance(here, tuple) else "as asked"
            rows.append(f"| {name} | {who} | {ended} |")
    table = re.search(r"\| hvac \|.*?\n\n", DOCUMENT.read_text(), re.DOTALL)
    assert table is not None and table[0].strip().splitlines()[2:] == rows, "\n".join(rows)


async def test_one_whom_no_rule_knows_is_denied_as_by_the_server(bao: Bao, place: Place) -> None:
    """A name that is in the configuration, one that is in the vault, and one that is not there."""
    nobody = hvac.Client(url=bao.address, token=bao.make_token("default").id)
    async with open_door(bao, hold=held(place)) as door:
        client = hvac.Client(url=door.address)
        client.token = None
        for where in (place.kv2.api("app"), place.kv2.api("nope"), "nomount/app", "sys/mounts"):
            call = reading(where)
            here = await asyncio.to_thread(outcome, call, client, place)
            there = await asyncio.to_thread(outcome, call, nobody, place)
            assert here[:2] == ("Forbidden", ["permission denied"])
            assert here[0] == there[0]
        assert {status for _, status in door.audited} == {403}


# --- the command line -------------------------------------------------------------------------


async def bao_cli(door: OpenDoor, *arguments: str, home: Path, **more: str) -> str:
    """Its output; AssertionError with its complaint."""
    environment = {"BAO_ADDR": door.address, "HOME": str(home), **more}
    process = await asyncio.create_subprocess_exec(
        str(binary()),
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return output.decode()


@pytest.mark.parametrize("is_socket", [True, False])
async def test_the_command_line_works_as_it_is(
    bao: Bao, place: Place, tmp_path: Path, is_socket: bool
) -> None:
    where = {"socket": str(tmp_path / "bao.sock")} if is_socket else {}
    kv = place.kv2
    async with open_door(bao, everything(place), hold=held(place), **where) as door:

        async def cli(*arguments: str, **more: str) -> str:
            return (await bao_cli(door, *arguments, home=tmp_path, **more)).strip()

        assert await cli("kv", "get", "-field=password", kv.cli("app")) == "s3cret"
        assert await cli("kv", "get", "-field=password", f"-mount={kv.mount}", "app") == "s3cret"
        assert await cli("kv", "get", "-field=password", place.kv1.cli("app")) == "s3cret"
        assert await cli("read", "-field=password", place.kv1.cli("app")) == "s3cret"
        first = await cli("read", "-field=username", place.database.path)
        assert await cli("read", "-field=username", place.database.path) == first
        assert "app" in await cli("kv", "list", kv.mount)
        await cli("kv", "put", kv.cli("made"), "password=new")
        assert await cli("kv", "get", "-field=password", kv.cli("made")) == "new"
        await cli("write", place.kv1.cli("made"), "a=b")
        assert "made" in await cli("list", place.kv1.mount)
        issue = ("write", "-field=serial_number", f"{place.pki}/issue/web")
        same = await cli(*issue, "common_name=app.example")
        assert same == door.ledger.entry("web").reading.version  # type: ignore[union-attr]
        assert "Sealed" in await cli("status")
        wrap = ("read", "-field=wrapping_token", "-wrap-ttl=60s", kv.api("app"))
        token = await cli(*wrap)
        assert "s3cret" in await cli("unwrap", token)
        own = bao.make_token("root").id
        assert await cli("read", "-field=id", "auth/token/lookup-self", BAO_TOKEN=own) == own


# --- what must not happen -----------------------------------------------------------------------


async def test_the_agents_token_is_in_no_answer(bao: Bao, tmp_path: Path) -> None:
    """Not by the ways that a server has of telling it, even where a rule opens all of them."""
    kv = bao.kv(2)
    ours = bao.make_token("root", ttl="1h").id
    kv.put("trap", token=ours)
    kv.put("long", padding="x" * 200_000, token=ours)
    ways = {
        "auth/token/lookup-self": ALL,
        "auth/token/renew-self": ALL,
        "auth/token/lookup": ALL,
        "auth/token/renew": ALL,
        f"{kv.mount}/*": ALL,
    }
    rule = VaultRule(paths=paths(ways))
    async with (
        vault(bao.address, root(ours)) as store,
        vault_door(store, rule, limits=Limits(request_bytes=1 << 20)) as door,
    ):
        async with aiohttp.ClientSession(headers={"X-Vault-Request": "true"}) as session:

            async def told(method: str, path: str, body: Any = None, **headers: str) -> bytes:
                """Status line apart, all that came; an answer may have been cut off."""
                got = b""
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                url = f"{door.address}/v1/{path}"
                try:
                    async with session.request(method, url, json=body, headers=named) as answer:
                        async for piece in answer.content.iter_any():
                            got += piece
                except aiohttp.ClientError:
                    pass
                return got

            answers = [
                await told("GET", "auth/token/lookup-self"),
                await told("GET", "auth/token/lookup-self", X_Vault_Wrap_TTL="60"),
                await told("POST", "auth/token/renew-self", {}),
                await told("POST", "auth/token/lookup", {"token": ours}),
                await told("POST", "auth/token/renew", {"token": ours}),
                await told("GET", kv.api("trap")),
                await told("GET", kv.api("long")),
            ]
        assert b'"ttl"' in answers[0] and b'"policies"' in answers[2]
        assert not any(ours.encode() in each for each in answers)
        assert b'"token":"s' not in answers[1] and b"wrap_info" not in answers[1]
        assert bao.lookup(ours) is not None
        door.defects.clear()  # the long one was cut off amid its way, and that was told


async def test_a_large_answer_and_a_large_body_come_through(bao: Bao) -> None:
    kv = bao.kv(2)
    text = "".join(chr(97 + number % 26) for number in range(3_000_000))
    rule = VaultRule(paths=paths({f"{kv.mount}/*": ALL}))
    async with open_door(bao, rule, limits=Limits(request_bytes=32 << 20)) as door:
        client = hvac.Client(url=door.address)
        client.token = None

        def there_and_back() -> Any:
            client.secrets.kv.v2.create_or_update_secret("big", {"a": text}, mount_point=kv.mount)
            return client.secrets.kv.v2.read_secret(
                "big", mount_point=kv.mount, raise_on_deleted_version=True
            )["data"]["data"]

        assert await asyncio.to_thread(there_and_back) == {"a": text}


async def test_while_the_vault_is_down(bao: Bao, proxy: Proxy) -> None:
    kv = bao.kv(2)
    kv.put("app", password="s3cret")
    rule = VaultRule(secrets=("*",), paths=paths({f"{kv.mount}/*": ALL}))
    async with vault(proxy.address, ROOT) as store, vault_door(store, rule) as door:
        await door.hold(app=entry(kv.cli("app")))
        client = hvac.Client(url=door.address)
        client.token = None

        def ask(path: str) -> int:
            answer = client.adapter.request("get", f"/v1/{path}", raise_exception=False)
            return answer.status_code if hasattr(answer, "status_code") else 200

        async def status(path: str) -> int:
            return await asyncio.to_thread(ask, path)

        with proxy.faulty(SEALED):
            assert await status("sys/health") == 503
            assert await status(kv.api("other")) == 503
            assert await status(kv.api("app")) == 200
        with proxy.faulty(Answer(429)):  # a standby
            assert await status("sys/health") == 429
        assert store.is_ready, "what callers provoke does not close the store"
        with proxy.faulty(rate_limited(7)):
            assert await status(kv.api("other")) == 429
        await proxy.refuse()
        assert await status("sys/health") == 502
        assert await status(kv.api("other")) == 502
        assert await status(kv.api("app")) == 200


async def test_identical_reads_are_one_request(bao: Bao, proxy: Proxy) -> None:
    kv = bao.kv(2)
    kv.put("app", password="s3cret")
    rule = VaultRule(paths=paths({f"{kv.mount}/*": ALL}))
    async with vault(proxy.address, ROOT) as store, vault_door(store, rule) as door:

        async def ask(session: aiohttp.ClientSession) -> bytes:
            async with session.get(f"{door.address}/v1/{kv.api('app')}") as answer:
                return await answer.read()

        with proxy.faulty(Withhold(), path(kv.mount)):
            async with (
                aiohttp.ClientSession(headers={"X-Vault-Request": "true"}) as session,
                asyncio.TaskGroup() as group,
            ):
                asking = [group.create_task(ask(session)) for _ in range(8)]
                await eventually(lambda: len(door.door._relay._busy) and proxy.requests(kv.mount))
                await eventually(lambda: sum(door.door._relay._busy.values()) == 8)
                proxy.heal()
        assert len({each.result() for each in asking}) == 1
        assert len(proxy.requests(kv.mount)) == 1


async def test_another_user_of_this_host_gets_nothing(bao: Bao) -> None:
    """By no form of a path, and neither does he keep the app from its own."""
    kv = bao.kv(2)
    kv.put("app", password="s3cret")
    rule = VaultRule(user="0", secrets=("*",), paths=paths({f"{kv.mount}/*": ALL}))
    with open_folder() as folder:
        where = {"socket": str(folder / "v.sock"), "mode": 0o666}
        hold = {"app": entry(kv.cli("app"))}
        async with open_door(bao, rule, hold=hold, **where) as door, peer(1234) as stranger:

            async def ask(first: str, *headers: str) -> str:
                number = await stranger.do("connect", where["socket"])
                lines = "".join(f"{each}\r\n" for each in ("Host: x", *headers))
                return await stranger.ask(number, f"{first} HTTP/1.1\r\n{lines}\r\n")

            at = kv.api("app")
            for target in (
                f"/v1/{at}",
                f"/v1//{at}",
                f"/v1/./{at}",
                f"/V1/{at}",
                f"/v1/{at.replace('/', '%2f')}",
                f"/v1/x/../{at}",
                f"/v1/sys/health/../../{at}",
                f"/v1/{at}%00",
                f"/v1/{at}?list=true",
                f"/v1/{at.upper()}",
                "/v1/sys/mounts",
                "/v1/auth/token/lookup-self",
                f"http://x/v1/{at}",
            ):
                told = await ask(f"GET {target}")
                assert re.match(r"HTTP/1.1 (400|403|404) ", told), (target, told)
                assert "s3cret" not in told
            assert " 403 " in await ask(f"GET /v1/{at}", "X-Vault-Token: root2")
            assert " 200 " in await ask("GET /v1/sys/health")
            connector = aiohttp.UnixConnector(str(where["socket"]))
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get(f"http://x/v1/{at}") as answer,
            ):
                assert (await answer.json())["data"]["data"] == {"password": "s3cret"}
        assert {record.decision for record, status in door.audited if status == 200} == {"allowed"}
