"""What a request asks of the vault: path, capability, namespace, token; or why it is refused.

A path is decoded once, judged, and quoted anew: the server sees the very path that the rules saw.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import msgspec

from agent.api.access import is_plain
from agent.api.http import Request
from agent.api.vault.words import Refused

ROOT = "/v1/"
TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
"""As Go reads them."""

CAPABILITIES: dict[str, tuple[str, ...]] = {
    "GET": ("read",),
    "HEAD": ("read",),
    "LIST": ("list",),
    "POST": ("create", "update"),
    "PUT": ("create", "update"),
    "PATCH": ("patch",),
    "DELETE": ("delete",),
}
"""All of them are needed: from here a creation can't be told from an update."""

HOSTS = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
"""This host's own, as a client of its own would write it."""

SENT = (
    "accept",
    "content-type",
    "x-vault-aws-iam-server-id",
    "x-vault-forward",
    "x-vault-inconsistent",
    "x-vault-index",
    "x-vault-mfa",
    "x-vault-no-request-forwarding",
    "x-vault-policy-override",
    "x-vault-wrap-format",
    "x-vault-wrap-ttl",
)
"""Headers that are passed on as they are; the token, the namespace and ours are put there apart."""


class Asked(msgspec.Struct, frozen=True):
    """`path` is decoded, without `v1/`; `namespace` is the header's, without slashes at the ends.

    `token` is the caller's own. `capabilities` are empty for what no rule can allow.
    """

    method: str
    path: str
    query: str
    capabilities: tuple[str, ...]
    namespace: str | None
    token: str
    wraps: bool

    def __repr__(self) -> str:
        return f"<Asked {self.method} {self.path}>"

    @property
    def is_read(self) -> bool:
        return self.capabilities == ("read",)

    @property
    def target(self) -> str:
        """Path and query, quoted."""
        path = ROOT + quote(self.path, safe="/~@:+,=!$&'()*;")
        return f"{path}?{self.query}" if self.query else path

    def within(self, namespace: str) -> str | None:
        """The path as seen from a namespace; None if it is not below that."""
        if self.namespace is None or self.namespace == namespace:
            return self.path
        if not namespace:
            return f"{self.namespace}/{self.path}"
        below = self.namespace.removeprefix(namespace + "/")
        return None if below == self.namespace else f"{below}/{self.path}"


def asked(request: Request) -> Asked:
    """Raises `Refused` for what is not passed on in any case."""
    if request.method not in CAPABILITIES:
        raise Refused(405, "unsupported method")
    headers = request.headers
    return Asked(
        request.method,
        path_of(request.path),
        request.query,
        _capabilities(request.method, request.query),
        _namespace(headers.get("x-vault-namespace")),
        _token(headers),
        headers.get("x-vault-wrap-ttl", "0") not in ("", "0"),
    )


def refuse_browsers(request: Request) -> None:
    """On TCP anybody's page may ask: wanted are a header and a host that none can send here."""
    headers = request.headers
    if headers.get("x-vault-request") != "true":
        raise Refused(412, 'missing "X-Vault-Request" header')
    if "origin" in headers or not HOSTS.fullmatch(headers.get("host", "")):
        raise Refused(403, "permission denied")


def path_of(raw: str) -> str:
    """Decoded, without `/v1/`. Nothing in it means another path to somebody."""
    if not raw.startswith(ROOT):
        raise Refused(404, "no such path; the API is below /v1/")
    if "%" not in raw and raw.isascii():
        path = raw.removeprefix(ROOT)
    else:
        path = _decoded(raw.removeprefix(ROOT))
    if not is_plain(path):
        raise Refused(400, "the path is refused as it is written")
    return path


def _decoded(raw: str) -> str:
    if "%2f" in raw.lower():
        raise Refused(400, "the path is refused as it is written")
    try:
        return unquote_to_bytes(raw.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise Refused(400, "the path is refused as it is written") from None


def _capabilities(method: str, query: str) -> tuple[str, ...]:
    """What a GET is depends on its query, which must be as clear to us as to the server."""
    if method == "GET" and query:
        for key, capabilities in (("scan", ()), ("list", ("list",))):
            if _is_set(query, key):
                return capabilities
    return CAPABILITIES[method]


def _is_set(query: str, key: str) -> bool:
    values = {value for name, value in parse_qsl(query, keep_blank_values=True) if name == key}
    if not values or values <= FALSE:
        return False
    if values <= TRUE:
        return True
    raise Refused(400, f"{key} must be true or false")


def _namespace(header: str | None) -> str | None:
    """None where there is none. The root namespace is the empty text."""
    if header is None:
        return None
    namespace = header.strip("/")
    if namespace and (not is_plain(namespace) or "%" in namespace):
        raise Refused(400, "the namespace is refused as it is written")
    return "" if namespace == "root" else namespace


def _token(headers: dict[str, str]) -> str:
    token = headers.get("x-vault-token", "").strip()
    kind, _, bearer = headers.get("authorization", "").partition(" ")
    return token or (bearer.strip() if kind.lower() == "bearer" else "")
