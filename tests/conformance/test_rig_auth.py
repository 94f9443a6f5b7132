"""Each auth method of the rig lets in whom it should, and nobody else."""

from __future__ import annotations

import pytest
import requests

from tests.rig import bao_auth
from tests.rig.bao_client import Bao, BaoError
from tests.rig.openbao import MakeServer
from tests.rig.tls import Authority


def test_approle(bao: Bao) -> None:
    role = bao_auth.approle(bao, ["default"], token_ttl="60s")
    body = {"role_id": role.role_id, "secret_id": role.secret_id()}
    auth = bao.request("POST", f"auth/{role.mount}/login", body, token="")["auth"]
    assert auth["lease_duration"] == 60
    unwrapped = bao.request("POST", "sys/wrapping/unwrap", token=role.wrapped_secret_id())
    body["secret_id"] = unwrapped["data"]["secret_id"]
    bao.request("POST", f"auth/{role.mount}/login", body, token="")


def test_userpass(bao: Bao) -> None:
    user = bao_auth.userpass(bao, ["default"])
    path = f"auth/{user.mount}/login/{user.username}"
    bao.request("POST", path, {"password": user.password}, token="")
    with pytest.raises(BaoError):
        bao.request("POST", path, {"password": "wrong"}, token="")


def test_jwt(bao: Bao) -> None:
    role = bao_auth.jwt(bao, ["default"])
    path = f"auth/{role.mount}/login"
    bao.request("POST", path, {"role": role.role, "jwt": role.token()}, token="")
    with pytest.raises(BaoError):
        bao.request("POST", path, {"role": role.role, "jwt": role.token(ttl=-1)}, token="")


def test_kubernetes(bao: Bao) -> None:
    with bao_auth.cluster() as cluster:
        mount = bao_auth.kubernetes(bao, cluster, ["default"])
        token = cluster.token()
        body = {"role": "app", "jwt": token}
        bao.request("POST", f"auth/{mount}/login", body, token="")
        cluster.revoked.add(token)
        with pytest.raises(BaoError):
            bao.request("POST", f"auth/{mount}/login", body, token="")


def test_cert(bao_server: MakeServer, authority: Authority) -> None:
    server = bao_server(tls=True)
    mount = bao_auth.cert(server.bao, authority, ["default"])
    url = f"{server.address}/v1/auth/{mount}/login"
    mine, stranger = authority.issue("app", is_client=True), Authority(server.folder / "data")
    for pair, status in ((mine, 200), (stranger.issue("app", is_client=True), 400)):
        files = (str(pair.cert_file), str(pair.key_file))
        answer = requests.post(url, cert=files, verify=str(server.ca_file), timeout=5)
        assert answer.status_code == status, answer.text
