"""The vault that the manifests under deploy/ expect, set up as docs/kubernetes.md says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.rig.bao_auth import Cluster, cluster, signed_jwt
from tests.rig.bao_client import Bao, Kv
from tests.rig.bao_server import Server
from tests.rig.kubernetes import Manifest
from tests.rig.scene import value
from tests.rig.tls import Authority

NAME, PORT = "vault.vault.svc", 8200
DOCUMENT = Path(__file__).parents[2] / "docs" / "kubernetes.md"


class VaultInCluster:
    """A real OpenBao with TLS and auth/kubernetes, set up as the documentation says."""

    def __init__(self, folder: Path, asked: Cluster) -> None:
        folder.mkdir()
        authority = Authority(folder)
        self.ca_file = authority.ca_file
        self.server = Server(
            folder / "server", pair=authority.issue(NAME), ca_file=authority.ca_file
        )
        self.bao: Bao = self.server.bao
        self._cluster = asked
        self._mount()

    @property
    def kv(self) -> Kv:
        return Kv(self.bao, "secret", 2)

    def put(self, username: str) -> int:
        """A new credential; its version."""
        return self.kv.put("app/database", username=username, password=value())

    def token(self, asked: Manifest, account: str = "app", namespace: str = "default") -> str:
        """A service-account token as the kubelet would project it."""
        now = int(time.time())
        claims = {
            "iss": "https://kubernetes.default.svc.cluster.local",
            "sub": f"system:serviceaccount:{namespace}:{account}",
            "aud": [asked["audience"]],
            "iat": now,
            "nbf": now - 5,
            "exp": now + asked["expirationSeconds"],
            "jti": f"{now}-{time.monotonic_ns()}",
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": account, "uid": "u-1"},
            },
        }
        return signed_jwt(self._cluster.key, claims)

    def logins(self) -> int:
        """Tokens of the role that are alive."""
        return sum(self._path_of(each) == "auth/kubernetes/login" for each in self.bao.accessors())

    def close(self) -> None:
        self.server.close()

    def _path_of(self, accessor: str) -> str:
        body = {"accessor": accessor}
        return str(self.bao.request("POST", "auth/token/lookup-accessor", body)["data"]["path"])

    def _mount(self) -> None:
        request = self.bao.request
        request("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        request("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
        host: dict[str, Any] = {"kubernetes_host": self._cluster.address}
        request("POST", "auth/kubernetes/config", host | {"kubernetes_ca_cert": self._cluster.ca})
        request("PUT", "sys/policies/acl/app", {"policy": documented("app.hcl")})
        request("POST", "auth/kubernetes/role/app", json.loads(documented("role.json")))


def documented(name: str) -> str:
    """The file of this name in docs/kubernetes.md."""
    _, _, text = DOCUMENT.read_text().partition(f"cat >{name} <<'END'\n")
    assert text, f"docs/kubernetes.md has no {name}"
    return text.partition("\nEND\n")[0]


@contextmanager
def vault_in_cluster(folder: Path) -> Iterator[VaultInCluster]:
    with cluster() as asked:
        vault = VaultInCluster(folder, asked)
        try:
            yield vault
        finally:
            vault.close()
