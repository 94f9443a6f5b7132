"""Auth methods on a real OpenBao, each under a mount of its own, and what logs in to them."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tests.rig.bao_client import Bao, unique
from tests.rig.tls import Authority, public_pem


def enable(bao: Bao, kind: str) -> str:
    """Mount an auth method; its mount."""
    mount = unique(kind)
    bao.request("POST", f"sys/auth/{mount}", {"type": kind})
    return mount


@dataclass(frozen=True)
class AppRole:
    """An approle role."""

    bao: Bao
    mount: str
    name: str
    role_id: str

    @property
    def secret_id_path(self) -> str:
        return f"auth/{self.mount}/role/{self.name}/secret-id"

    def secret_id(self) -> str:
        """A new secret-id."""
        return str(self.bao.request("POST", self.secret_id_path)["data"]["secret_id"])

    def wrapped_secret_id(self) -> str:
        """A response-wrapping token around a new secret-id; created at `secret_id_path`."""
        return self.bao.wrap("POST", self.secret_id_path)


def approle(bao: Bao, policies: Sequence[str], **role: Any) -> AppRole:
    """Options of the role: token_ttl, token_max_ttl, token_period, secret_id_num_uses …"""
    mount, name = enable(bao, "approle"), "app"
    body = {"token_policies": list(policies), **role}
    bao.request("POST", f"auth/{mount}/role/{name}", body)
    role_id = bao.request("GET", f"auth/{mount}/role/{name}/role-id")["data"]["role_id"]
    return AppRole(bao, mount, name, role_id)


@dataclass(frozen=True)
class UserPass:
    """A user."""

    mount: str
    username: str
    password: str


def userpass(bao: Bao, policies: Sequence[str], **options: Any) -> UserPass:
    mount, password = enable(bao, "userpass"), secrets.token_urlsafe(12)
    body = {"password": password, "token_policies": list(policies), **options}
    bao.request("POST", f"auth/{mount}/users/app", body)
    return UserPass(mount, "app", password)


def cert(bao: Bao, authority: Authority, policies: Sequence[str], **options: Any) -> str:
    """Client certificates of `authority` are let in; the mount. The server must speak TLS."""
    mount = enable(bao, "cert")
    body = {"certificate": authority.ca_file.read_text(), "token_policies": list(policies)}
    bao.request("POST", f"auth/{mount}/certs/app", body | options)
    return mount


def signed_jwt(key: ec.EllipticCurvePrivateKey, claims: dict[str, Any]) -> str:
    """A JWT by ES256."""
    parts = [encoded(json.dumps(part).encode()) for part in ({"alg": "ES256"}, claims)]
    signature = key.sign(".".join(parts).encode(), ec.ECDSA(hashes.SHA256()))
    raw = b"".join(each.to_bytes(32, "big") for each in utils.decode_dss_signature(signature))
    return ".".join([*parts, encoded(raw)])


def encoded(data: bytes) -> str:
    """Base64 as in a JWT."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class JwtRole:
    """A role of the jwt method, and the key that signs for it."""

    mount: str
    role: str
    key: ec.EllipticCurvePrivateKey

    def token(self, *, ttl: float = 300, **claims: Any) -> str:
        """A JWT that is good for `ttl` seconds."""
        now = int(time.time())
        standard = {"sub": "app", "aud": "rig", "iat": now, "nbf": now - 5, "exp": now + int(ttl)}
        return signed_jwt(self.key, standard | {"jti": secrets.token_hex(4)} | claims)


def jwt(bao: Bao, policies: Sequence[str], **options: Any) -> JwtRole:
    """No clock skew is allowed: a JWT that has expired is refused."""
    mount, key = enable(bao, "jwt"), ec.generate_private_key(ec.SECP256R1())
    bao.request("POST", f"auth/{mount}/config", {"jwt_validation_pubkeys": [public_pem(key)]})
    body: dict[str, Any] = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["rig"]}
    body |= {"token_policies": list(policies), "clock_skew_leeway": -1, "expiration_leeway": -1}
    bao.request("POST", f"auth/{mount}/role/app", body | options)
    return JwtRole(mount, "app", key)


@dataclass
class Cluster:
    """The one part of a Kubernetes API server that the kubernetes method asks: TokenReview."""

    address: str
    ca: str
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    revoked: set[str] = field(default_factory=set)

    def token(self, *, account: str = "app", namespace: str = "default", ttl: float = 3600) -> str:
        """A service-account token as a projected volume has it."""
        now = int(time.time())
        bound = {"namespace": namespace, "serviceaccount": {"name": account, "uid": "u-1"}}
        claims = {
            "iss": "https://kubernetes.default.svc",
            "sub": f"system:serviceaccount:{namespace}:{account}",
            "iat": now,
            "nbf": now - 5,
            "exp": now + int(ttl),
            "jti": secrets.token_hex(4),
            "kubernetes.io": bound,
        }
        return signed_jwt(self.key, claims)

    def review(self, token: str) -> dict[str, Any]:
        """The status of a TokenReview; a revoked or malformed token is not authenticated."""
        try:
            payload = token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (IndexError, ValueError):
            return {"authenticated": False}
        if token in self.revoked or claims["exp"] < time.time():
            return {"authenticated": False}
        return {"authenticated": True, "user": {"username": claims["sub"], "uid": "u-1"}}


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Served on 127.0.0.1 from a thread; its `ca` is one that nothing of it needs."""
    with TemporaryDirectory() as folder:
        ca = Authority(Path(folder)).ca_file.read_text()
    server = ThreadingHTTPServer(("127.0.0.1", 0), TokenReviews)
    address = f"http://127.0.0.1:{server.server_port}"
    server.cluster = Cluster(address, ca)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.cluster  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class TokenReviews(BaseHTTPRequestHandler):
    """POST /apis/authentication.k8s.io/v1/tokenreviews"""

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.cluster.review(review["spec"]["token"])  # type: ignore[attr-defined]
        status["audiences"] = review["spec"].get("audiences", [])
        body = json.dumps({**review, "status": status}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def kubernetes(bao: Bao, where: Cluster, policies: Sequence[str], **options: Any) -> str:
    """The account `app` of the namespace `default` gets the role `app`; the mount."""
    mount = enable(bao, "kubernetes")
    config = {"kubernetes_host": where.address, "kubernetes_ca_cert": where.ca}
    bao.request("POST", f"auth/{mount}/config", config)
    bound = {
        "bound_service_account_names": ["app"],
        "bound_service_account_namespaces": ["default"],
        "token_policies": list(policies),
    }
    bao.request("POST", f"auth/{mount}/role/app", bound | options)
    return mount
