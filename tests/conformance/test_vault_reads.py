"""What a real OpenBao answers, as the store tells it."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.core.errors import Denied, Invalid, Missing, Outage
from agent.core.secret import Reading
from agent.stores.base import ReadRequest
from agent.stores.vault.store import Vault
from tests.rig import faults
from tests.rig.bao_client import Bao, BaoError, Kv
from tests.rig.bao_server import ROOT_TOKEN
from tests.rig.clock import JumpClock
from tests.rig.postgres import MakeDatabase
from tests.rig.proxy import Proxy, path
from tests.rig.stores import root, vault
from tests.rig.waiting import another_second, eventually

ROOT = root(ROOT_TOKEN)


async def read(address: str, where: str, **request: object) -> Reading:
    async with vault(address, ROOT) as store:
        return await store.read(ReadRequest(where, **request))  # type: ignore[arg-type]


# --- KV ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("form", ["cli", "api"])
async def test_kv_by_either_path(bao: Bao, version: int, form: str) -> None:
    kv = bao.kv(version)
    kv.put("team/app", password="s3cret", port=5432, hosts=["a", "b"], nothing=None)
    where = kv.cli("team/app") if form == "cli" else kv.api("team/app")
    reading = await read(bao.address, where)
    assert reading.value.reveal() == {
        "password": "s3cret",
        "port": 5432,
        "hosts": ["a", "b"],
        "nothing": None,
    }
    assert reading.lease is None and reading.not_after is None
    assert reading.version == "1" if version == 2 else reading.version


async def test_an_entry_named_data_is_not_taken_for_the_apis_word(bao: Bao) -> None:
    kv = bao.kv(2)
    kv.put("data/app", password="deeper")
    assert (await read(bao.address, kv.api("data/app"))).value["password"] == "deeper"


async def test_kv1_versions_differ_with_the_value_and_tell_nothing(bao: Bao) -> None:
    kv = bao.kv(1)
    kv.put("app", password="s3cret")
    async with vault(bao.address, ROOT) as store:
        first = await store.read(ReadRequest(kv.cli("app")))
        assert (await store.read(ReadRequest(kv.cli("app")))).version == first.version
        kv.put("app", password="other")
        assert (await store.read(ReadRequest(kv.cli("app")))).version != first.version
    assert "s3cret" not in first.version


async def test_kv1_fields_are_only_fields_whatever_their_names(bao: Bao) -> None:
    """An entry that looks like a certificate or a static role is read as often as any other."""
    kv = bao.kv(1)
    kv.put("pem", serial_number="1", certificate="…", expiration=1)
    kv.put("role", last_vault_rotation="x", ttl=1)
    async with vault(bao.address, ROOT) as store:
        pem = await store.read(ReadRequest(kv.cli("pem")))
        role = await store.read(ReadRequest(kv.cli("role")))
    assert pem.not_after is None and pem.version != "1"
    assert role.read_again_after is None and role.value["ttl"] == 1


async def test_a_pinned_version(bao: Bao) -> None:
    kv = bao.kv()
    kv.put("app", password="first")
    kv.put("app", password="second")
    pinned = await read(bao.address, kv.cli("app"), version=1)
    assert pinned.value["password"] == "first" and pinned.version == "1"
    assert (await read(bao.address, kv.cli("app"))).version == "2"
    with pytest.raises(Missing):
        await read(bao.address, kv.cli("app"), version=9)


async def test_a_pinned_version_of_an_engine_without_versions_is_refused(bao: Bao) -> None:
    kv = bao.kv(1)
    kv.put("app", password="first")
    with pytest.raises(Invalid, match="version"):
        await read(bao.address, kv.cli("app"), version=1)


async def test_custom_metadata(bao: Bao) -> None:
    kv = bao.kv()
    kv.put("app", password="s3cret")
    kv.annotate("app", owner="team-a", tier="1")
    reading = await read(bao.address, kv.cli("app"))
    assert dict(reading.metadata) == {"owner": "team-a", "tier": "1"}


async def test_a_deleted_version_is_missing(bao: Bao) -> None:
    kv = bao.kv()
    kv.put("app", password="s3cret")
    kv.delete("app")
    with pytest.raises(Missing):
        await read(bao.address, kv.cli("app"))


async def test_deleted_and_made_again_is_another_value_of_the_same_version(bao: Bao) -> None:
    kv = bao.kv()
    kv.put("app", password="old")
    old = await read(bao.address, kv.cli("app"))
    kv.forget("app")
    kv.put("app", password="new")
    new = await read(bao.address, kv.cli("app"))
    assert (old.version, new.version) == ("1", "1")
    assert old.value != new.value


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "name", ["with space", "schlüssel/日本", "what?now", "a#b", "100%", "a+b&c=d", "semi;colon"]
)
async def test_any_name_that_the_server_takes(bao: Bao, version: int, name: str) -> None:
    kv = bao.kv(version)
    kv.put(quote(name), password=name)
    assert (await read(bao.address, kv.cli(name))).value["password"] == name


async def test_an_entry_and_a_mount_that_do_not_exist(bao: Bao) -> None:
    kv = bao.kv()
    async with vault(bao.address, ROOT) as store:
        with pytest.raises(Missing):
            await store.read(ReadRequest(kv.cli("nothing")))
        with pytest.raises(Denied, match="no such mount"):
            await store.read(ReadRequest("nowhere/app"))


async def test_an_engine_upgraded_meanwhile_is_asked_about_again(
    bao: Bao, clock: JumpClock
) -> None:
    kv = bao.kv(1)
    kv.put("app", password="s3cret")
    clock.idle_seconds = 0.01
    async with vault(bao.address, ROOT, clock=clock) as store:
        await store.read(ReadRequest(kv.cli("app")))
        bao.request("POST", f"sys/mounts/{kv.mount}/tune", {"options": {"version": "2"}})
        upgraded = Kv(bao, kv.mount, 2)
        await eventually(lambda: is_written(upgraded, password="n3w"))
        await clock.advance(301)
        with pytest.raises(Missing):
            await store.read(ReadRequest(kv.cli("app")))
        assert (await store.read(ReadRequest(kv.cli("app")))).value["password"] == "n3w"


async def test_an_engine_upgraded_meanwhile_under_a_policy_for_its_new_paths_only(
    bao: Bao, proxy: Proxy, clock: JumpClock
) -> None:
    """The old path is denied then, not missing."""
    kv = bao.kv(1)
    kv.put("app", password="s3cret")
    clock.idle_seconds = 0.01
    async with vault(proxy.address, ROOT, clock=clock) as store:
        await store.read(ReadRequest(kv.cli("app")))
        bao.request("POST", f"sys/mounts/{kv.mount}/tune", {"options": {"version": "2"}})
        upgraded = Kv(bao, kv.mount, 2)
        await eventually(lambda: is_written(upgraded, password="n3w"))
        proxy.fault(faults.DENIED, lambda seen: seen.path == f"{kv.mount}/app")
        await clock.advance(301)
        with pytest.raises(Denied):
            await store.read(ReadRequest(kv.cli("app")))
        assert (await store.read(ReadRequest(kv.cli("app")))).value["password"] == "n3w"


# --- engines ----------------------------------------------------------------------------------


def is_written(kv: Kv, **fields: str) -> bool:
    """False while OpenBao is still upgrading the mount."""
    try:
        kv.put("app", **fields)
    except BaoError:
        return False
    return True


async def test_a_dynamic_credential_logs_in_until_it_is_revoked(
    bao: Bao, database: MakeDatabase
) -> None:
    made = database(ttl="1h", max_ttl="2h")
    async with vault(bao.address, ROOT) as store:
        reading = await store.read(ReadRequest(made.path))
        username, password = str(reading.value["username"]), str(reading.value["password"])
        assert made.postgres.can_log_in(username, password)
        assert reading.lease is not None and reading.version == reading.lease.id
        assert made.leases() == [reading.lease.id]
        assert (reading.lease.term.lasts, reading.lease.term.is_renewable) == (3600, True)
        renewed = await store.renew(reading.lease)
        assert renewed.term.began_at > reading.lease.term.began_at
        assert renewed.term.lasts == pytest.approx(3600, abs=1) and not renewed.term.is_capped
        await store.revoke(renewed)
        await eventually(lambda: not made.postgres.has_role(username))
        with pytest.raises(Invalid):
            await store.renew(renewed)
        await store.revoke(renewed)


async def test_a_renewal_at_the_maximum_is_capped(bao: Bao, database: MakeDatabase) -> None:
    made = database(ttl="20s", max_ttl="20s")
    async with vault(bao.address, ROOT) as store:
        reading = await store.read(ReadRequest(made.path))
        assert reading.lease is not None
        await another_second()
        renewed = await store.renew(reading.lease)
        assert renewed.term.is_capped and renewed.term.lasts < 19.5


async def test_a_static_role_is_read_again_right_after_its_rotation(
    bao: Bao, database: MakeDatabase
) -> None:
    made = database()
    made.add_static_role(rotation_period="1h")
    async with vault(bao.address, ROOT) as store:
        first = await store.read(ReadRequest(made.static_path))
        assert first.read_again_after is not None and 3590 < first.read_again_after <= 3601
        assert "ttl" not in first.value and first.lease is None
        assert made.postgres.can_log_in(str(first.value["username"]), str(first.value["password"]))
        await another_second()
        later = await store.read(ReadRequest(made.static_path))
        assert (later.version, later.value) == (first.version, first.value), (
            "the count-down is no news"
        )
        made.rotate_static_role()
        rotated = await store.read(ReadRequest(made.static_path))
        assert rotated.version != first.version and rotated.value != first.value
        assert made.postgres.can_log_in(
            str(rotated.value["username"]), str(rotated.value["password"])
        )


@pytest.mark.parametrize("generate_lease", [False, True])
async def test_certificate_key_and_chain_are_of_one_issue(bao: Bao, generate_lease: bool) -> None:
    """nomad#24803: certificate and key of different issues."""
    mount = bao.pki(generate_lease=generate_lease)
    data = {"common_name": "app.example", "ttl": "2h"}
    reading = await read(bao.address, f"{mount}/issue/web", data=data)
    certificate = x509.load_pem_x509_certificate(str(reading.value["certificate"]).encode())
    key = load_pem_private_key(str(reading.value["private_key"]).encode(), None)
    assert certificate.public_key() == key.public_key()
    chain = reading.value["ca_chain"]
    assert isinstance(chain, list)
    issuer = x509.load_pem_x509_certificate(chain[0].encode())
    certificate.verify_directly_issued_by(issuer)
    serial = int(reading.version.replace(":", ""), 16)
    assert serial == certificate.serial_number
    assert reading.not_after == certificate.not_valid_after_utc.timestamp()
    assert (reading.lease is not None) == generate_lease


async def test_a_write_to_any_other_path(bao: Bao) -> None:
    mount = bao.mount("transit")
    bao.request("POST", f"{mount}/keys/app")
    reading = await read(bao.address, f"{mount}/encrypt/app", data={"plaintext": "c2VjcmV0"})
    assert str(reading.value["ciphertext"]).startswith("vault:v1:")
    key = await read(bao.address, f"{mount}/keys/app")
    assert key.value["name"] == "app" and key.lease is None


async def test_a_token_made_for_the_app(bao: Bao) -> None:
    reading = await read(bao.address, "auth/token/create", data={"ttl": "1h", "no_parent": True})
    made = bao.lookup(str(reading.value["client_token"]))
    assert made is not None and made["accessor"] == reading.value["accessor"]


async def test_a_write_that_is_invalid_is_refused(bao: Bao) -> None:
    mount = bao.pki()
    with pytest.raises(Invalid):
        await read(bao.address, f"{mount}/issue/web", data={"common_name": "evil.example"})


# --- how often it asks ------------------------------------------------------------------------


async def read_all(store: Vault, paths: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        for each in paths:
            group.create_task(store.read(ReadRequest(each)))


async def test_a_preflight_a_mount_and_a_request_a_secret_consul_template_1840(
    bao: Bao, proxy: Proxy
) -> None:
    """10 000 secrets opened 10 000 connections there."""
    first, second = bao.kv(2), bao.kv(1)
    paths = []
    for number in range(50):
        for kv in (first, second):
            kv.put(f"app/{number}", password=str(number))
            paths.append(kv.cli(f"app/{number}"))
    async with vault(proxy.address, ROOT) as store:
        await read_all(store, paths)
        assert len(proxy.requests("sys/internal/ui/mounts/")) == 2
        assert len(proxy.requests(first.mount)) == len(proxy.requests(second.mount)) == 50
        assert len(proxy.requests()) == 2 + 100 + 1, "and one login"
        assert proxy.most_connections <= 16
        proxy.forget()
        await read_all(store, paths)
        assert len(proxy.requests()) == 100
        assert proxy.connections == 0, "connections are kept"


async def test_a_passing_failure_pins_nothing_consul_template_2149(bao: Bao, proxy: Proxy) -> None:
    """There a failed preflight made KV v2 be read as v1 until the restart."""
    kv = bao.kv(2)
    kv.put("app", password="s3cret")
    async with vault(proxy.address, ROOT) as store:
        for fault in (faults.BROKEN, faults.DENIED):
            with (
                proxy.faulty(fault, path("sys/internal/ui/mounts/")),
                pytest.raises((Outage, Denied)),
            ):
                await store.read(ReadRequest(kv.cli("app")))
        reading = await store.read(ReadRequest(kv.cli("app")))
    assert reading.value.reveal() == {"password": "s3cret"}
