"""Every auth method against a real OpenBao."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.config.model import (
    AppRole,
    Cert,
    Jwt,
    Kubernetes,
    Ldap,
    Tls,
    TokenFile,
    UserPass,
)
from agent.core.events import LoggedIn, LoginFailed, TokenRevoked
from agent.stores.base import ReadRequest
from tests.rig import bao_auth
from tests.rig.bao_client import Bao
from tests.rig.openbao import MakeServer
from tests.rig.stores import Changes, Recorder, vault
from tests.rig.tls import Authority


def readable(bao: Bao) -> tuple[str, str]:
    """A KV entry and the policy that may read it."""
    kv = bao.kv()
    kv.put("app", password="s3cret")
    return kv.cli("app"), bao.policy({f"{kv.mount}/*": ["read"]})


async def reads(address: str, auth: object, path: str, **options: object) -> Recorder:
    events = Recorder()
    async with vault(address, auth, events=events, **options) as store:  # type: ignore[arg-type]
        reading = await store.read(ReadRequest(path))
        assert reading.value.reveal() == {"password": "s3cret"}
    return events


async def fails(address: str, auth: object, **options: object) -> LoginFailed:
    """The first failed login."""
    events = Recorder()
    async with vault(address, auth, events=events, must_log_in=False, **options):  # type: ignore[arg-type]
        await events.until(lambda: events.all(LoginFailed))
    failure: LoginFailed = events.all(LoginFailed)[0]
    return failure


async def test_approle_by_files_removes_the_secret_id_once_logged_in(
    bao: Bao, tmp_path: Path
) -> None:
    path, policy = readable(bao)
    role = bao_auth.approle(bao, [policy])
    (tmp_path / "role").write_text(role.role_id + "\n")
    (tmp_path / "secret").write_text(role.secret_id() + "\n")
    auth = AppRole(
        mount=role.mount, role_id_file=tmp_path / "role", secret_id_file=tmp_path / "secret"
    )
    await reads(bao.address, auth, path)
    assert not (tmp_path / "secret").exists()
    assert (tmp_path / "role").exists()


async def test_approle_keeps_the_file_when_told_to(bao: Bao, tmp_path: Path) -> None:
    path, policy = readable(bao)
    role = bao_auth.approle(bao, [policy])
    (tmp_path / "secret").write_text(role.secret_id())
    auth = AppRole(
        mount=role.mount,
        role_id=role.role_id,
        secret_id_file=tmp_path / "secret",
        remove_secret_id_file=False,
    )
    await reads(bao.address, auth, path)
    assert (tmp_path / "secret").exists()


async def test_approle_from_the_environment(bao: Bao) -> None:
    path, policy = readable(bao)
    role = bao_auth.approle(bao, [policy])
    auth = AppRole(mount=role.mount, role_id=role.role_id, secret_id=role.secret_id())
    await reads(bao.address, auth, path)


async def test_approle_keeps_the_file_of_a_secret_id_that_was_refused(
    bao: Bao, tmp_path: Path
) -> None:
    role = bao_auth.approle(bao, ["default"])
    (tmp_path / "secret").write_text("not-a-secret-id")
    auth = AppRole(mount=role.mount, role_id=role.role_id, secret_id_file=tmp_path / "secret")
    failure = await fails(bao.address, auth)
    assert "not-a-secret-id" not in str(failure)
    assert (tmp_path / "secret").exists()


async def test_a_wrapped_secret_id_is_unwrapped(bao: Bao, tmp_path: Path) -> None:
    path, policy = readable(bao)
    role = bao_auth.approle(bao, [policy])
    (tmp_path / "secret").write_text(role.wrapped_secret_id())
    auth = AppRole(
        mount=role.mount,
        role_id=role.role_id,
        secret_id_file=tmp_path / "secret",
        secret_id_wrapped=True,
        wrapped_path=role.secret_id_path,
    )
    await reads(bao.address, auth, path)


async def test_a_wrapping_from_elsewhere_is_refused_and_not_unwrapped(
    bao: Bao, tmp_path: Path
) -> None:
    role = bao_auth.approle(bao, ["default"])
    forged = bao.wrap("POST", "sys/wrapping/wrap", {"secret_id": role.secret_id()})
    (tmp_path / "secret").write_text(forged)
    auth = AppRole(
        mount=role.mount,
        role_id=role.role_id,
        secret_id_file=tmp_path / "secret",
        secret_id_wrapped=True,
    )
    failure = await fails(bao.address, auth)
    assert "sys/wrapping/wrap" in failure.reason
    assert forged not in str(failure)
    assert bao.request("POST", "sys/wrapping/lookup", {"token": forged})


async def test_a_wrapping_that_somebody_has_opened_is_said_to_be(bao: Bao, tmp_path: Path) -> None:
    role = bao_auth.approle(bao, ["default"])
    wrapping = role.wrapped_secret_id()
    bao.request("POST", "sys/wrapping/unwrap", {"token": wrapping})
    (tmp_path / "secret").write_text(wrapping)
    auth = AppRole(
        mount=role.mount,
        role_id=role.role_id,
        secret_id_file=tmp_path / "secret",
        secret_id_wrapped=True,
    )
    failure = await fails(bao.address, auth)
    assert "unwrapped it before" in failure.reason


async def test_token_file_is_followed_when_replaced(bao: Bao, tmp_path: Path) -> None:
    path, policy = readable(bao)
    file = tmp_path / "token"
    first, second = bao.make_token(policy), bao.make_token(policy)
    file.write_text(first.id)
    changes, events = Changes(), Recorder()
    auth = TokenFile(token_file=file)
    async with vault(bao.address, auth, changes=changes, events=events) as store:
        await store.read(ReadRequest(path))
        await asyncio.to_thread(file.write_text, second.id)
        changes.changed(file)
        await events.until(lambda: len(events.all(LoggedIn)) == 2)
        assert store.auth.token().secret == second.id
        await store.read(ReadRequest(path))
    assert bao.lookup(first.id) and bao.lookup(second.id), "they belong to somebody else"


async def test_jwt(bao: Bao, tmp_path: Path) -> None:
    path, policy = readable(bao)
    role = bao_auth.jwt(bao, [policy])
    (tmp_path / "jwt").write_text(role.token())
    await reads(bao.address, Jwt(mount=role.mount, role="app", jwt_file=tmp_path / "jwt"), path)


async def test_a_new_jwt_is_used_at_once_vault_12233(bao: Bao, tmp_path: Path) -> None:
    path, policy = readable(bao)
    role = bao_auth.jwt(bao, [policy])
    file = tmp_path / "jwt"
    file.write_text(role.token())
    changes, events = Changes(), Recorder()
    auth = Jwt(mount=role.mount, role="app", jwt_file=file)
    async with vault(bao.address, auth, changes=changes, events=events) as store:
        before = store.auth.token()
        await store.read(ReadRequest(path))
        await asyncio.to_thread(file.write_text, role.token())
        changes.changed(file)
        await events.until(lambda: events.all(TokenRevoked))
        assert len(events.all(LoggedIn)) == 2
        assert store.auth.token() is not before
        assert bao.lookup(before.secret) is None, "nothing hung on it"
        await store.read(ReadRequest(path))


async def test_kubernetes(bao: Bao, tmp_path: Path) -> None:
    path, policy = readable(bao)
    with bao_auth.cluster() as cluster:
        mount = bao_auth.kubernetes(bao, cluster, [policy])
        (tmp_path / "jwt").write_text(cluster.token())
        await reads(
            bao.address, Kubernetes(mount=mount, role="app", jwt_file=tmp_path / "jwt"), path
        )


async def test_cert(bao_server: MakeServer, authority: Authority) -> None:
    server = bao_server(tls=True)
    path, policy = readable(server.bao)
    mount = bao_auth.cert(server.bao, authority, [policy])
    pair = authority.issue("app", is_client=True)
    tls = Tls(
        ca_file=server.ca_file,
        cert_file=pair.cert_file,
        key_file=pair.key_file,
        server_name="bao.example",
    )
    await reads(server.address, Cert(mount=mount), path, tls=tls)


async def test_userpass(bao: Bao, tmp_path: Path) -> None:
    path, policy = readable(bao)
    user = bao_auth.userpass(bao, [policy])
    (tmp_path / "password").write_text(user.password)
    auth = UserPass(mount=user.mount, username=user.username, password_file=tmp_path / "password")
    await reads(bao.address, auth, path)


async def test_ldap_speaks_the_exchange_of_userpass(bao: Bao) -> None:
    """OpenBao 2.7 has no ldap; its userpass takes the same request at the same path."""
    path, policy = readable(bao)
    user = bao_auth.userpass(bao, [policy])
    auth = Ldap(mount=user.mount, username=user.username, password=user.password)
    events = await reads(bao.address, auth, path)
    assert events.all(LoggedIn)[0].method == "ldap"


async def test_a_wrong_password_is_refused_with_backoff(bao: Bao) -> None:
    user = bao_auth.userpass(bao, ["default"])
    auth = UserPass(mount=user.mount, username=user.username, password="wr0ng-one")
    failure = await fails(bao.address, auth)
    assert failure.retry_after is not None
    assert "wr0ng-one" not in str(failure)


async def test_our_own_token_is_revoked_at_the_end(bao: Bao) -> None:
    role = bao_auth.approle(bao, ["default"])
    auth = AppRole(mount=role.mount, role_id=role.role_id, secret_id=role.secret_id())
    async with vault(bao.address, auth) as store:
        token = store.auth.token().secret
        assert bao.lookup(token)
    assert bao.lookup(token) is None


@pytest.mark.parametrize("missing", ["role", "secret"])
async def test_a_missing_credential_file_is_named(bao: Bao, tmp_path: Path, missing: str) -> None:
    role = bao_auth.approle(bao, ["default"])
    (tmp_path / "role").write_text(role.role_id)
    (tmp_path / "secret").write_text(role.secret_id())
    (tmp_path / missing).unlink()
    auth = AppRole(
        mount=role.mount, role_id_file=tmp_path / "role", secret_id_file=tmp_path / "secret"
    )
    failure = await fails(bao.address, auth)
    assert str(tmp_path / missing) in failure.reason
