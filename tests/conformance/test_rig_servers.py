"""The rig's servers: real ones, isolated, and breakable on purpose."""

from __future__ import annotations

import pytest
import requests

from tests.rig.bao_client import Bao, BaoError
from tests.rig.openbao import MakeServer


def test_kv_of_both_versions(bao: Bao) -> None:
    one, two = bao.kv(1), bao.kv(2)
    one.put("app", password="a")
    assert bao.request("GET", one.api("app"))["data"] == {"password": "a"}
    assert [two.put("app", password=each) for each in "ab"] == [1, 2]
    two.annotate("app", owner="team")
    metadata = bao.request("GET", two.api("app"))["data"]["metadata"]
    assert (metadata["version"], metadata["custom_metadata"]) == (2, {"owner": "team"})
    two.forget("app")
    assert two.put("app", password="c") == 1


def test_tokens_have_policies_and_die(bao: Bao) -> None:
    kv = bao.kv()
    kv.put("mine", a="1")
    kv.put("other", a="1")
    token = bao.make_token(bao.policy({kv.api("mine"): ["read"]}), ttl="60s")
    bao.request("GET", kv.api("mine"), token=token.id)
    with pytest.raises(BaoError, match="403"):
        bao.request("GET", kv.api("other"), token=token.id)
    bao.revoke_accessor(token.accessor)
    assert bao.lookup(token.id) is None


def test_a_wrapped_answer_is_unwrapped_once(bao: Bao) -> None:
    kv = bao.kv()
    kv.put("app", a="1")
    wrapped = bao.wrap("GET", kv.api("app"))
    answer = bao.request("POST", "sys/wrapping/unwrap", token=wrapped)
    assert answer["data"]["data"] == {"a": "1"}
    with pytest.raises(BaoError):
        bao.request("POST", "sys/wrapping/unwrap", token=wrapped)


def test_certificates(bao: Bao) -> None:
    mount = bao.pki()
    answer = bao.request("POST", f"{mount}/issue/web", {"common_name": "app.example"})
    assert answer["data"]["certificate"].startswith("-----BEGIN CERTIFICATE")


def test_a_server_comes_back_with_its_data(bao_server: MakeServer) -> None:
    server = bao_server()
    kv = server.bao.kv()
    kv.put("app", a="1")
    server.kill()
    with pytest.raises(requests.ConnectionError):
        server.bao.request("GET", kv.api("app"))
    server.start()
    assert server.bao.request("GET", kv.api("app"))["data"]["data"] == {"a": "1"}
    server.seal()
    with pytest.raises(BaoError, match="503"):
        server.bao.request("GET", kv.api("app"))
    server.unseal()
    server.freeze()
    with pytest.raises(requests.Timeout):
        requests.get(f"{server.address}/v1/sys/health", timeout=0.2)
    server.thaw()
    assert server.is_active()


def test_tls_a_unix_socket_and_namespaces(bao_server: MakeServer) -> None:
    server = bao_server(tls=True, unix=True)
    assert server.socket is not None and server.socket.is_socket()
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(server.address, timeout=5)
    team = server.bao.within("team-a")
    kv = team.kv()
    kv.put("app", a="1")
    assert server.bao.request("GET", f"team-a/{kv.api('app')}")["data"]["data"] == {"a": "1"}
    team.close()
