"""Root's hand on an OpenBao: sets up and looks, by plain requests, independent of the agent."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import requests

_numbers = count(1)


def unique(stem: str) -> str:
    """A name that no other test on the same server has."""
    return f"{stem}-{next(_numbers)}"


class BaoError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, method: str, path: str, body: str) -> None:
        super().__init__(f"{method} {path}: {status} {body}")
        self.status = status


class Token(NamedTuple):
    """A token made for a test."""

    id: str
    accessor: str


@dataclass(frozen=True)
class Kv:
    """A KV mount of a test's own."""

    bao: Bao
    mount: str
    version: int

    def api(self, name: str) -> str:
        """The API path that reads `name`."""
        return f"{self.mount}/data/{name}" if self.version == 2 else f"{self.mount}/{name}"

    def cli(self, name: str) -> str:
        """The path as the command line has it."""
        return f"{self.mount}/{name}"

    def put(self, name: str, **fields: Any) -> int:
        """A new value; its version (0 in v1)."""
        body = {"data": fields} if self.version == 2 else fields
        answer = self.bao.request("POST", self.api(name), body)
        return int(answer["data"]["version"]) if self.version == 2 else 0

    def delete(self, name: str) -> None:
        """In v2 the latest version only."""
        self.bao.request("DELETE", self.api(name))

    def forget(self, name: str) -> None:
        """v2: all versions and the metadata, so that the next `put` is version 1 again."""
        self.bao.request("DELETE", f"{self.mount}/metadata/{name}")

    def annotate(self, name: str, **custom: str) -> None:
        """v2: custom metadata."""
        self.bao.request("POST", f"{self.mount}/metadata/{name}", {"custom_metadata": custom})


class Bao:
    """Requests under /v1 with a token; `token` and `namespace` may be changed."""

    def __init__(
        self, address: str, token: str, *, namespace: str = "", verify: Path | None = None
    ) -> None:
        self.address, self.token, self.namespace = address, token, namespace
        self._session = requests.Session()
        self._session.trust_env = False
        self._soon = threading.Event()
        self._verify: str | bool = str(verify) if verify else True

    def close(self) -> None:
        self._session.close()

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        wrap_ttl: str | None = None,
    ) -> dict[str, Any]:
        """The JSON of the answer ({} if it has none); BaoError from 400 on."""
        headers = {"X-Vault-Token": self.token if token is None else token}
        headers |= {"X-Vault-Namespace": self.namespace} if self.namespace else {}
        headers |= {"X-Vault-Wrap-TTL": wrap_ttl} if wrap_ttl else {}
        url = f"{self.address}/v1/{path}"
        answer = self._session.request(
            method, url, json=body, headers=headers, verify=self._verify, timeout=20
        )
        if answer.status_code >= 400:
            raise BaoError(answer.status_code, method, path, answer.text)
        return dict(answer.json()) if answer.content else {}

    def _answers(self, path: str) -> bool:
        try:
            return bool(self.request("GET", path))
        except BaoError as error:
            if error.status != 400:
                raise
            return False

    def within(self, namespace: str) -> Bao:
        """The same hand in a namespace, made if need be; close it."""
        try:
            self.request("POST", f"sys/namespaces/{namespace}")
        except BaoError as error:
            if error.status != 400:
                raise
        verify = Path(self._verify) if isinstance(self._verify, str) else None
        return Bao(self.address, self.token, namespace=namespace, verify=verify)

    # --- mounts and policies ------------------------------------------------------------------

    def mount(self, kind: str, *, options: Mapping[str, str] | None = None, **config: Any) -> str:
        """Mount a secrets engine under a name of its own."""
        path = unique(kind)
        body = {"type": kind, "options": dict(options or {}), "config": config}
        self.request("POST", f"sys/mounts/{path}", body)
        return path

    def unmount(self, path: str) -> None:
        self.request("DELETE", f"sys/mounts/{path}")

    def kv(self, version: int = 2) -> Kv:
        """A KV engine, once it answers: the second version makes itself ready in the background."""
        mount = self.mount("kv", options={"version": str(version)})
        tries = 500 if version == 2 else 0
        while tries and not self._answers(f"{mount}/config"):
            tries -= 1
            self._soon.wait(0.02)
        return Kv(self, mount, version)

    def pki(self, **role: Any) -> str:
        """A PKI engine with a root and the role `web` for `app.example`; its mount."""
        mount = self.mount("pki", max_lease_ttl="8760h")
        root = {"common_name": "rig root", "ttl": "8760h", "key_type": "ec", "key_bits": 256}
        self.request("POST", f"{mount}/root/generate/internal", root)
        permitted = {"allowed_domains": ["app.example"], "allow_bare_domains": True}
        shape = {"key_type": "ec", "key_bits": 256, "max_ttl": "24h", "allow_subdomains": True}
        self.request("POST", f"{mount}/roles/web", permitted | shape | role)
        return mount

    def policy(self, paths: Mapping[str, Iterable[str]]) -> str:
        """A policy with capabilities by path; its name."""
        name = unique("policy")
        self.set_policy(name, paths)
        return name

    def set_policy(self, name: str, paths: Mapping[str, Iterable[str]]) -> None:
        rules = [
            f'path "{path}" {{ capabilities = [{", ".join(map(quoted, capabilities))}] }}'
            for path, capabilities in paths.items()
        ]
        self.request("PUT", f"sys/policies/acl/{name}", {"policy": "\n".join(rules)})

    # --- tokens and leases --------------------------------------------------------------------

    def make_token(self, *policies: str, **options: Any) -> Token:
        """A token; options as in auth/token/create (ttl, explicit_max_ttl, period, renewable …)."""
        body = {"policies": list(policies), "no_parent": True, **options}
        auth = self.request("POST", "auth/token/create", body)["auth"]
        return Token(auth["client_token"], auth["accessor"])

    def revoke_token(self, token: str) -> None:
        self.request("POST", "auth/token/revoke", {"token": token})

    def revoke_accessor(self, accessor: str) -> None:
        self.request("POST", "auth/token/revoke-accessor", {"accessor": accessor})

    def accessors(self) -> list[str]:
        """Of all living tokens."""
        return list(self.request("LIST", "auth/token/accessors")["data"]["keys"])

    def lookup(self, token: str) -> dict[str, Any] | None:
        """What is known of a token; None when it is dead."""
        try:
            return dict(self.request("POST", "auth/token/lookup", {"token": token})["data"])
        except BaoError as error:
            if error.status in (403, 404):
                return None
            raise

    def leases(self, prefix: str) -> list[str]:
        """Ids of the living leases below a path, such as `database/creds/app`."""
        try:
            answer = self.request("LIST", f"sys/leases/lookup/{prefix.rstrip('/')}/")
        except BaoError as error:
            if error.status == 404:
                return []
            raise
        return [f"{prefix.rstrip('/')}/{key}" for key in answer["data"]["keys"]]

    def lease(self, lease_id: str) -> dict[str, Any] | None:
        """What is known of a lease; None when it is gone."""
        try:
            return dict(self.request("POST", "sys/leases/lookup", {"lease_id": lease_id})["data"])
        except BaoError as error:
            if error.status in (400, 404):
                return None
            raise

    def revoke_lease(self, lease_id: str) -> None:
        self.request("POST", "sys/leases/revoke", {"lease_id": lease_id, "sync": True})

    def revoke_prefix(self, prefix: str) -> None:
        self.request("POST", f"sys/leases/revoke-prefix/{prefix}")

    def wrap(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        """A response-wrapping token for the answer to a request."""
        answer = self.request(method, path, body, wrap_ttl="120s")
        return str(answer["wrap_info"]["token"])


def quoted(text: str) -> str:
    """As a string of HCL."""
    return f'"{text}"'
